//! A refused PIN stays refused: over a restart, beside other writers, and when its file is damaged. A login without a clear answer
//! allows one more.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::file::{FILE_LIMIT, hex, parse};
use super::*;
use crate::base::Kind;

fn pin(text: &str) -> Pin {
    Pin::new(text.to_owned())
}

/// A token that is known by its serial number.
fn by_serial(serial: &str) -> TokenName {
    TokenName { serial: serial.to_owned(), label: None }
}

/// A token that is known by its label.
fn by_label(label: &str, serial: &str) -> TokenName {
    TokenName { serial: serial.to_owned(), label: Some(label.to_owned()) }
}

fn unclear(logins: u8, flags: PinState) -> Note {
    Note::Unclear(Unclear { logins, last: Timestamp::from_unix(1_800_000_000), flags })
}

fn file(path: &Path, key: u8) -> LoginNotesFile {
    LoginNotesFile::new(path, SecretBytes::new(vec![key; 32])).unwrap()
}

fn refuse(notes: &dyn LoginNotes, token: &TokenName, text: &str) {
    notes.write(token, &pin(text), Some(Note::Refused)).unwrap();
}

fn is_refused(notes: &dyn LoginNotes, token: &TokenName, text: &str) -> bool {
    notes.read(token, &pin(text)).unwrap() == Some(Note::Refused)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs the test with notes in memory and with notes in a file.
fn with_both(test: impl Fn(&dyn LoginNotes)) {
    let folder = tempfile::tempdir().unwrap();
    test(&file(&folder.path().join("notes"), 1));
    assert_eq!(names(folder.path()), ["notes.lock"], "no notes are no file");
    test(&LoginNotesInMemory::new());
}

const PAUSE: Duration = Duration::from_secs(10);

#[test]
fn what_a_note_allows() {
    let now = Timestamp::from_unix(1_800_000_000);
    let next = |known, flags, after: u64| Note::next(known, flags, now.after(Duration::from_secs(after)), PAUSE);
    let first = next(None, PinState::CountLow, 0).unwrap();
    assert_eq!(first, Unclear { logins: 1, last: now, flags: PinState::CountLow });
    let known = Some(Note::Unclear(first));
    // That somebody failed once was so before.
    assert_eq!(next(known, PinState::CountLow, 0), Err(Stop::Wait(PAUSE)));
    assert_eq!(next(known, PinState::CountLow, 9), Err(Stop::Wait(Duration::from_secs(1))));
    assert_eq!(next(known, PinState::FinalTry, 10), Err(Stop::CountedAsWrong));
    assert_eq!(next(known, PinState::Locked, 0), Err(Stop::CountedAsWrong));
    // Somebody else logged in meanwhile.
    let second = next(known, PinState::Fine, 10).unwrap();
    assert_eq!(second, Unclear { logins: 2, last: now.after(PAUSE), flags: PinState::CountLow });
    assert_eq!(next(Some(Note::Unclear(second)), PinState::Fine, 1_000_000), Err(Stop::Unclear));
    assert_eq!(next(Some(Note::Refused), PinState::Fine, 1_000_000), Err(Stop::Refused));
    // A clock that was put back does not make anybody wait for longer.
    let later = Note::Unclear(Unclear { last: now.after(1_000 * PAUSE), ..first });
    assert!(next(Some(later), PinState::Fine, 0).is_ok());
}

#[test]
fn one_pin_of_one_token_is_refused() {
    with_both(|notes| {
        let token = by_serial("0a");
        assert!(!is_refused(notes, &token, "1234"));
        refuse(notes, &token, "1234");
        assert!(is_refused(notes, &token, "1234"));
        for (serial, other) in [("0b", "1234"), ("0a", "12345"), ("0a1", "234"), ("", "0a1234"), ("0a", "")] {
            assert!(!is_refused(notes, &by_serial(serial), other), "{serial} {other}");
        }
        let nameless = by_serial("");
        refuse(notes, &nameless, "1");
        refuse(notes, &token, "5678");
        assert!(is_refused(notes, &token, "5678") && is_refused(notes, &token, "1234"), "each of them");
        notes.forget(&token).unwrap();
        notes.forget(&token).unwrap();
        assert!(!is_refused(notes, &token, "5678") && !is_refused(notes, &token, "1234"));
        assert!(is_refused(notes, &nameless, "1"), "a token without a serial number is one, too");
        notes.accepted(&nameless, &pin("2")).unwrap();
        assert!(!is_refused(notes, &nameless, "1"));
    });
}

#[test]
fn a_login_without_an_answer_is_noted_until_there_is_one() {
    with_both(|notes| {
        let token = by_serial("0a");
        for note in [unclear(1, PinState::Fine), unclear(2, PinState::CountLow), Note::Refused, unclear(1, PinState::Locked)] {
            notes.write(&token, &pin("1234"), Some(note)).unwrap();
            assert_eq!(notes.read(&token, &pin("1234")).unwrap(), Some(note));
            assert_eq!(notes.read(&token, &pin("5678")).unwrap(), None);
        }
        notes.write(&token, &pin("1234"), None).unwrap();
        assert_eq!(notes.read(&token, &pin("1234")).unwrap(), None);
    });
}

#[test]
fn the_members_of_a_cluster_are_one_token_by_their_label() {
    with_both(|notes| {
        let (one, two) = (by_label("cluster", "01"), by_label("cluster", "02"));
        refuse(notes, &one, "1234");
        notes.write(&one, &pin("5678"), Some(unclear(1, PinState::Fine))).unwrap();
        assert!(is_refused(notes, &two, "1234"));
        assert!(!is_refused(notes, &by_label("other", "02"), "1234"));
        assert!(!is_refused(notes, &by_serial("02"), "1234"), "whoever names a serial number means one member");
        assert!(is_refused(notes, &by_serial("01"), "1234"), "that one");
        // The second login is at another member: it is the second all the same.
        notes.write(&two, &pin("5678"), Some(unclear(2, PinState::Fine))).unwrap();
        assert_eq!(notes.read(&one, &pin("5678")).unwrap(), Some(unclear(2, PinState::Fine)));
        // What one member accepts says nothing of what another one refused, but for the PIN that it accepted.
        notes.accepted(&two, &pin("5678")).unwrap();
        assert!(is_refused(notes, &one, "1234") && notes.read(&one, &pin("5678")).unwrap().is_none());
        notes.forget(&two).unwrap();
        assert!(!is_refused(notes, &one, "1234"));
    });
}

#[test]
fn a_source_of_ever_other_pins_does_not_fill_the_notes() {
    with_both(|notes| {
        let token = by_serial("0a");
        for number in 0..3 * MOST_OF_A_TOKEN {
            refuse(notes, &token, &number.to_string());
        }
        let refused = (0..3 * MOST_OF_A_TOKEN).filter(|number| is_refused(notes, &token, &number.to_string()));
        assert_eq!(refused.collect::<Vec<_>>(), (2 * MOST_OF_A_TOKEN..3 * MOST_OF_A_TOKEN).collect::<Vec<_>>());
        notes.forget(&token).unwrap();
    });
}

#[test]
fn a_restart_does_not_forget_and_another_key_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    let token = by_serial("0a");
    refuse(&file(&path, 1), &token, "31415926");
    let bytes = std::fs::read(&path).unwrap();
    assert!(is_refused(&file(&path, 1), &token, "31415926"));
    assert!(!is_refused(&file(&path, 2), &token, "31415926"));
    refuse(&file(&path, 2), &token, "31415926");
    assert_ne!(std::fs::read(&path).unwrap(), bytes);
    assert!(is_refused(&file(&path, 2), &token, "31415926"));
}

#[test]
fn what_another_process_takes_away_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    let server = file(&path, 1);
    let token = by_serial("0a");
    refuse(&server, &token, "1234");
    file(&path, 1).forget(&token).unwrap();
    assert!(!is_refused(&server, &token, "1234"));
}

/// As versions wrote it that knew refused PINs and serial numbers alone: HMAC-SHA-256 under a key of 32 bytes of 1.
const FORMER: &str = "3061 e48bd157fbe91829aaef2f4491cbd250968d034e93546534a291ecd82aa6b1e5\n";

#[test]
fn what_former_versions_noted_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    std::fs::write(&path, FORMER).unwrap();
    let notes = file(&path, 1);
    for token in [by_serial("0a"), by_label("any", "0a")] {
        assert!(is_refused(&notes, &token, "31415926"));
    }
    notes.write(&by_label("any", "0b"), &pin("1234"), Some(unclear(1, PinState::CountLow))).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(FORMER) && text.contains(" label:616e79 unclear:1:1800000000:count-low\n"), "{text}");
    assert!(is_refused(&notes, &by_serial("0a"), "31415926"));
}

#[test]
fn the_file_is_the_owners_alone_and_tells_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    let notes = file(&path, 1);
    std::fs::write(&path, "0b ".to_owned() + &"ab".repeat(32) + "\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    refuse(&notes, &by_serial("0a"), "31415926");
    for name in names(folder.path()) {
        let mode = std::fs::metadata(folder.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(names(folder.path()), ["notes", "notes.lock"]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("31415926") && !text.contains(&hex(b"31415926")), "{text}");
    assert!(text.ends_with(FORMER), "{text}");
}

#[test]
fn a_damaged_file_is_not_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    let notes = file(&path, 1);
    let token = by_label("a", "0a");
    notes.write(&token, &pin("1234"), Some(unclear(1, PinState::Fine))).unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    assert!(parse(good.as_bytes()).is_ok());
    let large: String =
        (0..1000).map(|number| format!("{} {}\n", hex(format!("{number:04}").as_bytes()), "00".repeat(32))).collect();
    let damaged = [
        String::new(),
        "\n".to_owned(),
        good[..good.len() - 1].to_owned(),
        good[1..].to_owned(),
        good.to_uppercase(),
        good.replace(' ', "  "),
        good.replace(":1:", ":+1:"),
        good.replace(":1:", ":256:"),
        good.replace("fine", "good"),
        good.replace("fine", "fine:"),
        good.replace("label:61", "label:6"),
        good.replace("unclear", "clear"),
        good.replace('\n', " \n"),
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
            notes.read(&token, &pin("1234")).unwrap_err(),
            notes.write(&token, &pin("1234"), Some(Note::Refused)).unwrap_err(),
            notes.accepted(&token, &pin("1234")).unwrap_err(),
            notes.forget(&token).unwrap_err(),
        ] {
            assert_eq!(error.kind(), Kind::Unavailable);
            let message = error.message();
            assert!(message.contains(path.to_str().unwrap()) && message.contains("then delete"), "{message}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "it is left as it is");
    }
    assert!(notes.forget(&token).unwrap_err().message().contains("more than 65536 bytes"), "the last one is too large");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(notes.read(&token, &pin("1234")).unwrap(), None);
}

#[test]
fn notes_that_cannot_be_read_or_grow_too_large_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let token = by_serial("0a");
    let nowhere = file(&folder.path().join("absent/notes"), 1);
    assert!(nowhere.read(&token, &pin("1234")).is_err());
    assert!(nowhere.write(&token, &pin("1234"), Some(Note::Refused)).is_err());
    let no_file = file(folder.path(), 1);
    assert!(no_file.read(&token, &pin("1234")).is_err());
    let path = folder.path().join("notes");
    let notes = file(&path, 1);
    refuse(&notes, &token, "1234");
    assert!(notes.write(&by_serial(&"x".repeat(FILE_LIMIT / 2)), &pin("1234"), Some(Note::Refused)).is_err());
    assert!(is_refused(&notes, &token, "1234"));
    assert!(LoginNotesFile::new(&path, SecretBytes::new(vec![0; 31])).is_err());
}

#[test]
fn writers_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let path = &path;
            scope.spawn(move || {
                let notes = file(path, 1);
                for number in 0..8 {
                    let token = by_serial(&format!("{writer}-{number}"));
                    refuse(&notes, &token, "1234");
                    assert!(is_refused(&notes, &token, "1234"));
                    if number % 2 == 1 {
                        notes.forget(&token).unwrap();
                    }
                }
            });
        }
    });
    let notes = file(&path, 1);
    for writer in 0..8 {
        for number in 0..8 {
            assert_eq!(is_refused(&notes, &by_serial(&format!("{writer}-{number}")), "1234"), number % 2 == 0);
        }
    }
    assert_eq!(names(folder.path()), ["notes", "notes.lock"]);
}
