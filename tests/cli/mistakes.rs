//! Mistakes in the configuration and around it: one clear line each, and nothing is changed.

use std::os::unix::fs::PermissionsExt;

use crate::installation::{Installation, text};

#[test]
fn an_unknown_field_is_named_with_its_line() {
    let installation = Installation::new();
    installation.configure(|text| text.replace("name = \"hsm\"", "nmae = \"hsm\""));
    let line = installation.refusal(&["serve"]);
    assert!(line.contains("keystead.toml") && line.contains("line 10") && line.contains("nmae"), "{line}");
}

#[test]
fn a_missing_configuration_is_named() {
    let installation = Installation::bare();
    let line = installation.refusal(&["--config", "elsewhere.toml", "serve"]);
    assert!(line.contains("elsewhere.toml") && line.contains("keystead init"), "{line}");
}

#[test]
fn a_missing_module_token_or_pin_is_named() {
    let installation = Installation::new();
    installation.configure(|text| text.replace(crate::softhsm::module().to_str().unwrap(), "/nowhere/module.so"));
    assert!(installation.refusal(&["check-config"]).contains("/nowhere/module.so"));
    installation.configure(|text| text.replace("pkcs11:token=", "pkcs11:token=other%20"));
    let line = installation.refusal(&["check-config"]);
    assert!(line.contains("No token") && line.contains(&installation.token), "{line}");
    installation.configure(|text| text.replace("pin.txt", "no-pin.txt"));
    assert!(installation.refusal(&["check-config"]).contains("no-pin.txt"));
}

#[test]
fn a_wrong_pin_is_told_once_and_not_shown() {
    let installation = Installation::new();
    installation.write_secret("pin.txt", "not-the-pin");
    let line = installation.refusal(&["check-config"]);
    assert!(line.contains("PIN") && line.contains(&installation.token) && !line.contains("not-the-pin"), "{line}");
    // Nor is it tried a second time, by whichever command.
    let line = installation.refusal(&["check-config"]);
    assert!(line.contains("refused before") && !line.contains("not-the-pin"), "{line}");
}

#[test]
fn a_wrong_pin_is_mended_without_a_restart() {
    let installation = Installation::new();
    installation.write_secret("pin.txt", "not-the-pin");
    let server = installation.serve();
    let create = || installation.api(&["CreateKey", "--DKMSInstanceId", installation.hardware.as_str()]);
    for _ in 0..3 {
        assert_eq!(create().unwrap_err()["Code"], "ServiceUnavailableTemporary");
    }
    // The other instance is none the worse.
    installation.api(&["CreateKey", "--DKMSInstanceId", installation.software.as_str()]).unwrap();
    installation.write_secret("pin.txt", crate::softhsm::PIN);
    let begun = std::time::Instant::now();
    while create().is_err() {
        assert!(begun.elapsed().as_secs() < 20, "the right PIN is not taken");
    }
    let (ended_well, log) = server.end();
    assert!(ended_well && !log.contains("not-the-pin"), "{log}");
}

#[test]
fn a_pin_file_that_others_read_is_refused() {
    let installation = Installation::new();
    std::fs::set_permissions(installation.path("pin.txt"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(installation.refusal(&["check-config"]).contains("chmod 600"));
}

#[test]
fn serving_before_init_says_what_to_do() {
    let installation = Installation::bare();
    assert!(installation.refusal(&["serve"]).contains("keystead init"));
    std::fs::create_dir(installation.path("data")).unwrap();
    let line = installation.refusal(&["serve"]);
    assert!(line.contains("root.key") && line.contains("keystead init"), "{line}");
}

/// Every file of an installation, with its content.
fn content(installation: &Installation) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![installation.folder.path().to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push((path.clone(), std::fs::read(path).unwrap())) }
        }
    }
    found.sort();
    found
}

#[test]
fn init_puts_nothing_new_in_the_place_of_what_is_missing() {
    let installation = Installation::new();
    let whole = content(&installation);
    for missing in [
        &["root.key"][..],
        &["data/keystead.db", "data/keystead.db-wal", "data/keystead.db-shm"],
        &["data/keystead.db", "data/keystead.db-wal", "data/keystead.db-shm", "root.key"],
        &["keystead.toml"],
    ] {
        for name in missing {
            let _ = std::fs::remove_file(installation.path(name));
        }
        let part = content(&installation);
        assert!(part.len() < whole.len(), "{missing:?}");
        for arguments in [&["init"][..], &["init", "--new-access-key"]] {
            let line = installation.refusal(arguments);
            assert!(line.contains(missing[0]) && line.contains("back"), "{missing:?}: {line}");
            assert!(content(&installation) == part, "{missing:?}: nothing is made or changed");
        }
        // Put back, all is well.
        for (path, bytes) in &whole {
            std::fs::write(path, bytes).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        assert!(installation.run(&["check-config"]).status.success(), "{missing:?}");
        for (path, _) in content(&installation) {
            if !whole.iter().any(|(known, _)| *known == path) {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
    // A link to what is away is there.
    std::fs::rename(installation.path("root.key"), installation.path("copy")).unwrap();
    std::os::unix::fs::symlink("away", installation.path("root.key")).unwrap();
    assert!(installation.refusal(&["init"]).contains("root.key"));
    std::fs::rename(installation.path("copy"), installation.path("root.key")).unwrap();
    // An emptied database is no new one.
    std::fs::write(installation.path("data/keystead.db"), "").unwrap();
    assert!(installation.refusal(&["init"]).contains("empty"));
}

/// As a disk that is not mounted: an empty folder, or none.
#[test]
fn init_makes_no_second_database_under_a_root_key_whose_data_are_away() {
    let installation = Installation::new();
    let (data, away) = (installation.path("data"), installation.path("away"));
    std::fs::rename(&data, &away).unwrap();
    for mount_point in [false, true] {
        if mount_point {
            std::fs::create_dir(&data).unwrap();
        }
        let before = content(&installation);
        let line = installation.refusal(&["init"]);
        for part in ["root.key", "data", "mount", "to begin anew"] {
            assert!(line.contains(part), "{line}");
        }
        assert!(content(&installation) == before, "nothing is made");
    }
    std::fs::remove_dir(&data).unwrap();
    std::fs::rename(&away, &data).unwrap();
    assert!(installation.run(&["init"]).status.success());
    // To begin anew is possible.
    std::fs::rename(&data, &away).unwrap();
    std::fs::rename(installation.path("root.key"), installation.path("old.key")).unwrap();
    assert!(installation.run(&["init"]).status.success());
}

/// Also with a root key that somebody made elsewhere.
#[test]
fn init_goes_on_with_a_root_key_whose_database_is_still_to_be_made() {
    let installation = Installation::bare();
    let (key, new) = (installation.path("root.key"), installation.path("root.key.new"));
    installation.write_secret("root.key.new", &"k".repeat(32));
    let finish = || {
        let made = installation.run(&["init"]);
        assert!(made.status.success() && !new.exists(), "{}", text(&made));
        assert_eq!(std::fs::read(&key).unwrap(), [b'k'; 32]);
    };
    finish();
    // A crash between the database and the last name of the root key.
    std::fs::rename(&key, &new).unwrap();
    finish();
    assert!(installation.run(&["check-config"]).status.success());
    // Another root key than the database's is put in no place.
    std::fs::rename(&key, installation.path("copy")).unwrap();
    installation.write_secret("root.key.new", &"l".repeat(32));
    assert!(installation.refusal(&["init"]).contains("The root key is not the one"));
    assert!(!key.exists());
}

#[test]
fn what_is_missing_is_to_be_put_back_says_every_command() {
    let installation = Installation::new();
    for missing in ["root.key", "data/keystead.db", "data"] {
        let (path, away) = (installation.path(missing), installation.path("away"));
        std::fs::rename(&path, &away).unwrap();
        let line = installation.refusal(&["serve"]);
        assert!(line.contains(missing) && line.contains("back") && line.contains("for a new installation"), "{line}");
        std::fs::rename(&away, &path).unwrap();
    }
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let installation = Installation::new();
    let server = installation.serve();
    let line = installation.refusal(&["serve"]);
    assert!(line.contains("Another server"), "{line}");
    // The first is none the worse.
    installation.api(&["ListKeys"]).unwrap();
    assert!(server.end().0);
}

#[test]
fn an_address_that_is_taken_is_named() {
    let installation = Installation::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    installation.configure(|text| text.replacen("127.0.0.1:0", &address, 1));
    assert!(installation.refusal(&["serve"]).contains(&address));
}
