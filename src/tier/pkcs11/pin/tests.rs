//! A refused PIN stays refused: over a restart, beside other writers, and when its file is damaged.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn pin(text: &str) -> Pin {
    Pin::new(text.to_owned())
}

fn file(path: &Path, key: u8) -> RefusedFile {
    RefusedFile::new(path, SecretBytes::new(vec![key; 32])).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_pin_is_a_source() {
    assert_eq!(PinSource::read(&pin("1234")).unwrap().expose(), "1234");
}

#[test]
fn one_pin_of_one_token_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let in_file = file(&folder.path().join("refused"), 1);
    let in_memory = RefusedInMemory::new();
    for memory in [&in_file as &dyn RefusedPins, &in_memory] {
        assert!(!memory.is_refused("0a", &pin("1234")).unwrap());
        memory.refuse("0a", &pin("1234")).unwrap();
        assert!(memory.is_refused("0a", &pin("1234")).unwrap());
        for (serial, other) in [("0b", "1234"), ("0a", "12345"), ("0a1", "234"), ("", "0a1234"), ("0a", "")] {
            assert!(!memory.is_refused(serial, &pin(other)).unwrap(), "{serial} {other}");
        }
        memory.refuse("", &pin("1")).unwrap();
        memory.refuse("0a", &pin("5678")).unwrap();
        assert!(memory.is_refused("0a", &pin("5678")).unwrap());
        memory.forget("0a").unwrap();
        memory.forget("0a").unwrap();
        assert!(!memory.is_refused("0a", &pin("5678")).unwrap());
        assert!(memory.is_refused("", &pin("1")).unwrap(), "a token without a serial number is one, too");
        memory.forget("").unwrap();
    }
    assert_eq!(names(folder.path()), ["refused.lock"], "nothing to remember is no file");
}

#[test]
fn a_restart_does_not_forget_and_another_key_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("refused");
    file(&path, 1).refuse("0a", &pin("31415926")).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert!(file(&path, 1).is_refused("0a", &pin("31415926")).unwrap());
    assert!(!file(&path, 2).is_refused("0a", &pin("31415926")).unwrap());
    file(&path, 2).refuse("0a", &pin("31415926")).unwrap();
    assert_ne!(std::fs::read(&path).unwrap(), bytes);
    assert!(!file(&path, 1).is_refused("0a", &pin("31415926")).unwrap());
}

#[test]
fn what_another_process_forgets_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("refused");
    let server = file(&path, 1);
    server.refuse("0a", &pin("1234")).unwrap();
    file(&path, 1).forget("0a").unwrap();
    assert!(!server.is_refused("0a", &pin("1234")).unwrap());
}

#[test]
fn the_file_is_the_owners_alone_and_tells_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("refused");
    let memory = file(&path, 1);
    std::fs::write(&path, render(&Refused::new()) + "0b " + &"ab".repeat(32) + "\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    memory.refuse("0a", &pin("31415926")).unwrap();
    for name in names(folder.path()) {
        let mode = std::fs::metadata(folder.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(names(folder.path()), ["refused", "refused.lock"]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("31415926") && !text.contains(&hex(b"31415926")), "{text}");
    let lines: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap()).collect();
    assert_eq!(lines.iter().map(|(serial, _)| *serial).collect::<Vec<_>>(), ["0b", "3061"]);
    // HMAC-SHA-256, so that it is the same after an update.
    assert_eq!(lines[1].1, "e48bd157fbe91829aaef2f4491cbd250968d034e93546534a291ecd82aa6b1e5");
}

#[test]
fn a_damaged_file_is_not_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("refused");
    let memory = file(&path, 1);
    memory.refuse("0a", &pin("1234")).unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    let large: String =
        (0..1000).map(|number| format!("{} {}\n", hex(format!("{number:04}").as_bytes()), "00".repeat(32))).collect();
    let damaged = [
        String::new(),
        "\n".to_owned(),
        good[..good.len() - 1].to_owned(),
        good[1..].to_owned(),
        good.to_uppercase(),
        good.replace(' ', "  "),
        good.clone() + "\n",
        good.clone() + &good,
        good.clone() + "junk\n",
        format!("ff {}\n", "00".repeat(32)),
        "\u{0}".repeat(100),
        large,
    ];
    for text in damaged {
        std::fs::write(&path, &text).unwrap();
        for error in [
            memory.is_refused("0a", &pin("1234")).unwrap_err(),
            memory.refuse("0a", &pin("1234")).unwrap_err(),
            memory.forget("0a").unwrap_err(),
        ] {
            assert_eq!(error.kind(), Kind::Unavailable);
            let message = error.message();
            assert!(message.contains(path.to_str().unwrap()) && message.contains("then delete"), "{message}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "it is left as it is");
    }
    assert!(memory.forget("0a").unwrap_err().message().contains("more than 65536 bytes"), "the last one is too large");
    std::fs::remove_file(&path).unwrap();
    assert!(!memory.is_refused("0a", &pin("1234")).unwrap());
}

#[test]
fn a_memory_that_cannot_be_read_or_grows_too_large_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = file(&folder.path().join("absent/refused"), 1);
    assert!(nowhere.is_refused("0a", &pin("1234")).is_err());
    assert!(nowhere.refuse("0a", &pin("1234")).is_err());
    let no_file = file(folder.path(), 1);
    assert!(no_file.is_refused("0a", &pin("1234")).is_err());
    let path = folder.path().join("refused");
    let memory = file(&path, 1);
    memory.refuse("0a", &pin("1234")).unwrap();
    assert!(memory.refuse(&"x".repeat(FILE_LIMIT / 2), &pin("1234")).is_err());
    assert!(memory.is_refused("0a", &pin("1234")).unwrap());
    assert!(RefusedFile::new(&path, SecretBytes::new(vec![0; 31])).is_err());
}

#[test]
fn writers_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("refused");
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let path = &path;
            scope.spawn(move || {
                let memory = file(path, 1);
                for number in 0..8 {
                    let serial = format!("{writer}-{number}");
                    memory.refuse(&serial, &pin("1234")).unwrap();
                    assert!(memory.is_refused(&serial, &pin("1234")).unwrap());
                    if number % 2 == 1 {
                        memory.forget(&serial).unwrap();
                    }
                }
            });
        }
    });
    let memory = file(&path, 1);
    for writer in 0..8 {
        for number in 0..8 {
            assert_eq!(memory.is_refused(&format!("{writer}-{number}"), &pin("1234")).unwrap(), number % 2 == 0);
        }
    }
    assert_eq!(names(folder.path()), ["refused", "refused.lock"]);
}
