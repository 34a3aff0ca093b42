//! The house rules that a reader can check: which folder imports which, how long files are, where `unsafe`, the system's clock
//! and the exposure of secrets may stand.

use std::path::{Path, PathBuf};

/// What each folder or file at the top of `src` may import of ours. DESIGN: a folder imports only from lower floors.
const FLOORS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("measure", &[]),
    ("model", &["base"]),
    ("tier", &["base", "measure", "model"]),
    ("store", &["base", "model"]),
    ("audit", &["base"]),
    ("webhook", &["base"]),
    ("wire", &["base", "model"]),
    ("service", &["base", "model", "tier", "store"]),
    ("server", &["base", "model", "wire", "service", "tier", "audit"]),
    ("config", &["base", "model", "tier", "audit", "webhook"]),
    ("app", &["base", "measure", "model", "tier", "store", "wire", "service", "server", "config", "audit", "webhook"]),
];

/// Lines of a file, tests included, that nobody should need.
const LONGEST_FILE: usize = 600;

struct Source {
    path: PathBuf,
    /// Relative to `src`, with `/`.
    name: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
                let text = std::fs::read_to_string(&path).unwrap();
                found.push(Source { path, name, text });
            }
        }
    }
    assert!(found.len() > 20, "the sources are found");
    found
}

/// The code without comments and without the tests at the end of the file.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn floor_of(name: &str) -> &str {
    name.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// The top-level modules of ours that a file names by `crate::`, in `use crate::{a, b}` too.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut item = true;
            for (at, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => item = true,
                    c if depth == 1 && item && c.is_alphabetic() => {
                        found.push(word(&group[at..]));
                        item = false;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            found.push(word(rest));
        }
    }
    found
}

#[test]
fn a_folder_imports_only_from_lower_floors() {
    let floors: Vec<_> = FLOORS.iter().map(|(floor, _)| *floor).collect();
    for source in sources() {
        let floor = floor_of(&source.name);
        if ["lib", "main"].contains(&floor) {
            continue;
        }
        let (_, allowed) =
            FLOORS.iter().find(|(name, _)| *name == floor).unwrap_or_else(|| panic!("{} stands on no floor", source.name));
        for import in imports(&code(&source.text)) {
            if floors.contains(&import.as_str()) && import != floor {
                assert!(allowed.contains(&import.as_str()), "{} imports {import}", source.name);
            }
        }
    }
}

/// The folders of the hardware tier, from the bottom up: each imports only from those before it. `keys` and `slot` are strangers; the
/// files beside the folders join them.
const HARDWARE_FLOORS: &[(&str, &[&str])] = &[
    ("answer", &[]),
    ("queue", &["answer"]),
    ("library", &["answer", "queue"]),
    ("session", &["answer", "queue", "library"]),
    ("keys", &["answer", "queue", "library", "session", "settings"]),
    ("slot", &["answer", "queue", "library", "session", "settings"]),
];

/// Lines of code of a file of the hardware tier, its tests not counted.
const LONGEST_HARDWARE_FILE: usize = 350;

/// The files of the hardware tier by the path of their module (`slot/door`, `slot` for `slot/mod.rs`), with what each imports.
fn hardware_imports() -> Vec<(String, Vec<String>)> {
    let sources = sources();
    let tier = sources.iter().filter_map(|source| Some((source.name.strip_prefix("tier/pkcs11/")?, &source.text)));
    let tier: Vec<_> = tier.filter(|(name, _)| !name.contains("tests") && !name.starts_with("bench")).collect();
    let module = |name: &str| name.trim_end_matches(".rs").trim_end_matches("/mod").to_owned();
    let modules: Vec<_> = tier.iter().map(|(name, _)| module(name)).collect();
    let nearest = |path: &str| {
        let mut path = path.to_owned();
        while !modules.contains(&path) {
            path = path.rsplit_once('/')?.0.to_owned();
        }
        Some(path)
    };
    tier.iter()
        .map(|(name, text)| {
            let own = module(name);
            let parent = own.rsplit_once('/').map_or("", |(parent, _)| parent);
            // A module that only hands on what its children have does not depend on them.
            let code = code(text).lines().filter(|line| !line.trim_start().starts_with("pub")).collect::<Vec<_>>().join("\n");
            let absolute = paths(&code, "crate::tier::pkcs11::");
            let beside = paths(&code, "super::").into_iter().map(|path| format!("{parent}/{path}"));
            let imports = absolute.into_iter().chain(beside).filter_map(|path| nearest(path.trim_matches('/')));
            let mut imports: Vec<_> = imports.filter(|import| *import != own).collect();
            imports.sort();
            imports.dedup();
            (own, imports)
        })
        .collect()
}

/// The paths that follow a prefix, with `/` for `::`; each member of a group is one.
fn paths(code: &str, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        let path: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect();
        let group = rest[path.len()..].strip_prefix('{').and_then(|group| group.split('}').next());
        match group {
            Some(group) => found.extend(group.split(',').map(|item| format!("{path}{}", item.trim()).replace("::", "/"))),
            None => found.push(path.replace("::", "/")),
        }
    }
    found
}

#[test]
fn the_hardware_tier_stands_on_floors() {
    let imports = hardware_imports();
    assert!(imports.len() > 50, "the files are found: {}", imports.len());
    for (own, imports) in &imports {
        let Some((_, allowed)) = HARDWARE_FLOORS.iter().find(|(floor, _)| own.split('/').next() == Some(floor)) else { continue };
        for import in imports {
            let floor = import.split('/').next().unwrap_or_default();
            let same = own.split('/').next() == Some(floor);
            assert!(same || allowed.contains(&floor), "tier/pkcs11/{own} imports {import}");
        }
    }
}

#[test]
fn no_files_of_the_hardware_tier_import_each_other_in_a_circle() {
    let imports = hardware_imports();
    let mut left = imports.clone();
    loop {
        let there: Vec<_> = left.iter().map(|(own, _)| own.clone()).collect();
        let before = left.len();
        left.retain(|(_, imports)| imports.iter().any(|import| there.contains(import)));
        if left.len() == before {
            break;
        }
    }
    let left: Vec<_> = left
        .iter()
        .map(|(own, imports)| {
            (own, imports.iter().filter(|import| left.iter().any(|(other, _)| other == *import)).collect::<Vec<_>>())
        })
        .collect();
    assert!(left.is_empty(), "these files import each other, or what does: {left:#?}");
}

#[test]
fn files_of_the_hardware_tier_are_short() {
    for source in sources().iter().filter(|source| source.name.starts_with("tier/pkcs11/") && !source.name.contains("tests")) {
        let lines = source.text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().lines().count();
        assert!(lines <= LONGEST_HARDWARE_FILE, "{} has {lines} lines", source.name);
    }
}

#[test]
fn concrete_tiers_are_named_at_the_top_only() {
    for source in
        sources().iter().filter(|source| ["service", "server", "store", "wire", "model", "base"].contains(&floor_of(&source.name)))
    {
        for tier in ["tier::pkcs11", "tier::software"] {
            assert!(!code(&source.text).contains(tier), "{} names {tier}", source.name);
        }
    }
    for source in sources() {
        for (folder, other) in [("tier/pkcs11", "software"), ("tier/software", "pkcs11")] {
            assert!(
                !source.name.starts_with(folder) || !code(&source.text).contains(&format!("{other}::")),
                "{} names {other}",
                source.name
            );
        }
    }
}

#[test]
fn files_say_what_they_are_and_stay_short() {
    for source in sources() {
        assert!(source.text.starts_with("//!"), "{} does not begin with what it is for", source.path.display());
        let lines = source.text.lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines", source.path.display());
    }
}

#[test]
fn unsafe_stands_in_one_file() {
    for source in sources().iter().filter(|source| source.name != "tier/pkcs11/library/functions.rs") {
        assert!(!code(&source.text).contains("unsafe "), "{} has unsafe code", source.name);
    }
}

#[test]
fn one_file_asks_the_system_for_the_date() {
    for source in sources().iter().filter(|source| source.name != "base/clock.rs") {
        for call in ["SystemTime::now", "OffsetDateTime::now", "UtcDateTime::now"] {
            assert!(!code(&source.text).contains(call), "{} calls {call}", source.name);
        }
    }
}

#[test]
fn the_import_finder_finds() {
    assert_eq!(imports("use crate::{base::{Error, Kind}, model::key}; crate::tier::x()"), ["base", "model", "tier"]);
    assert_eq!(paths("use crate::tier::pkcs11::slot::{a, b::c}; x", "crate::tier::pkcs11::"), ["slot/a", "slot/b/c"]);
    assert_eq!(paths("use super::c; super::super::d", "super::"), ["c", "super/d"]);
}

/// The files that may look at secrets: the tiers, sealing, the audit log's chain, the making and handing out of client keys and data keys,
/// signatures, TLS keys. Another file that does so is looked at by a person first.
const MAY_EXPOSE: &[&str] = &[
    "app/api.rs",
    "app/init.rs",
    "app/handing_out.rs",
    "audit/chain.rs",
    "app/operators.rs",
    "base/secret.rs",
    "config/pin.rs",
    "config/pin/",
    "server/instance_operations.rs",
    "server/openapi/access.rs",
    "server/openapi/crypto.rs",
    "server/sts.rs",
    "server/tls.rs",
    "service/access.rs",
    "service/certificates.rs",
    "service/data_keys.rs",
    "store/import.rs",
    "store/seal.rs",
    "store/sessions.rs",
    "tier/",
    "wire/signing.rs",
];

#[test]
fn secrets_are_exposed_where_it_is_known() {
    for source in sources() {
        let exposes = [".expose(", ".expose_mut(", ".into_exposed("].iter().any(|call| code(&source.text).contains(call));
        let may = MAY_EXPOSE
            .iter()
            .any(|allowed| source.name == *allowed || (allowed.ends_with('/') && source.name.starts_with(allowed)));
        assert!(!exposes || may, "{} exposes secrets", source.name);
    }
}
