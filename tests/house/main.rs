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
