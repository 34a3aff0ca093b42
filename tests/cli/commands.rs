//! The commands that end by themselves.

use crate::installation::{Installation, mode, text};

#[test]
fn help_names_every_command() {
    let installation = Installation::bare();
    let help = installation.run(&["--help"]);
    assert!(help.status.success());
    for command in ["init", "serve", "check-config", "quick-create", "aap", "client-key", "hsm", "api", "KEYSTEAD_CONFIG"] {
        assert!(text(&help).contains(command), "{command}");
    }
    assert_eq!(installation.run(&["frobnicate"]).status.code(), Some(2));
    assert_eq!(installation.run(&[]).status.code(), Some(2));
}

#[test]
fn init_makes_what_is_missing_and_changes_nothing_the_second_time() {
    let installation = Installation::bare();
    let first = installation.run(&["init"]);
    assert!(first.status.success(), "{}", text(&first));
    for secret in ["root.key", "data/keystead.db", "data/access_key.json"] {
        assert_eq!(mode(&installation.path(secret)), 0o600, "{secret}");
    }
    assert_eq!(mode(&installation.path("data")), 0o700);
    let read = |name: &str| std::fs::read(installation.path(name)).unwrap();
    let before = (read("root.key"), read("data/access_key.json"), read("data/ca.pem"));
    let second = installation.run(&["init"]);
    assert!(second.status.success() && !text(&second).contains("(new"), "{}", text(&second));
    assert_eq!((read("root.key"), read("data/access_key.json"), read("data/ca.pem")), before);
    let secret: serde_json::Value = serde_json::from_slice(&before.1).unwrap();
    assert!(!text(&first).contains(secret["AccessKeySecret"].as_str().unwrap()), "the secret is not printed");
}

#[test]
fn init_without_a_configuration_writes_one_that_serves() {
    let installation = Installation::bare();
    std::fs::remove_file(installation.path("keystead.toml")).unwrap();
    let made = installation.run(&["init"]);
    assert!(made.status.success(), "{}", text(&made));
    let checked = installation.run(&["check-config"]);
    assert!(checked.status.success() && text(&checked).contains("Software"), "{}", text(&checked));
}

#[test]
fn check_config_tries_everything() {
    let installation = Installation::new();
    let checked = installation.run(&["check-config"]);
    assert!(checked.status.success(), "{}", text(&checked));
    for part in [installation.hardware.as_str(), installation.software.as_str(), &installation.token] {
        assert!(text(&checked).contains(part), "{part} is not in {}", text(&checked));
    }
}

#[test]
fn hsm_list_and_probe_show_the_token() {
    let installation = Installation::bare();
    let listed = installation.run(&["hsm", "list"]);
    assert!(listed.status.success() && text(&listed).contains(&installation.token), "{}", text(&listed));
    let probed = installation.run(&["hsm", "probe"]);
    assert!(probed.status.success(), "{}", text(&probed));
    for part in ["Aliyun_AES_256", "EC_P256K", "RSAES_OAEP_SHA_256", "ECIES_DH_SHA_1_XOR_HMAC", &installation.token] {
        assert!(text(&probed).contains(part), "{part} is not in {}", text(&probed));
    }
}

#[test]
fn quick_create_hands_out_three_files_and_overwrites_none() {
    let installation = Installation::new();
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().to_str().unwrap();
    let instance = installation.software.as_str();
    let made = installation.run(&["quick-create", "--instance", instance, "--name", "app", "--out", folder]);
    assert!(made.status.success(), "{}", text(&made));
    let mut names: Vec<_> =
        std::fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let [ca, key, password] = &names[..] else { panic!("{names:?}") };
    assert_eq!(ca, &format!("PrivateKmsCA_{instance}.pem"));
    let id = key.strip_prefix("clientKey_").unwrap().strip_suffix(".json").unwrap();
    assert_eq!(password, &format!("clientKey_{id}_Password.txt"));
    assert_eq!((mode(&out.path().join(key)), mode(&out.path().join(password))), (0o600, 0o600));
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(out.path().join(key)).unwrap()).unwrap();
    assert_eq!(json["KeyId"], id);
    let pem = std::fs::read_to_string(out.path().join(ca)).unwrap();
    assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 2);

    let taken = installation.refusal(&["quick-create", "--instance", instance, "--name", "app", "--out", folder]);
    assert!(taken.contains("app"), "{taken}");
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 3);
    let unknown =
        installation.refusal(&["quick-create", "--instance", "kst-aaaaaaaaaaaaaaaaaaaaa", "--name", "b", "--out", folder]);
    assert!(unknown.contains(instance), "the instances that there are: {unknown}");
}

#[test]
fn standard_creation_grants_what_it_names_and_client_keys_are_changed_without_a_gap() {
    let installation = Installation::new();
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().to_str().unwrap();
    let instance = installation.software.as_str();
    let key = "key-hzz62f1cb66fa42qo0001";
    let common = ["aap", "create", "--instance", instance, "--name", "shop", "--out", folder];
    let create = |more: &[&'static str]| [&common[..], more].concat();
    let unknown = installation.refusal(&create(&["--key", key]));
    assert!(unknown.contains(key) && unknown.contains(instance), "{unknown}");
    let address = installation.refusal(&create(&["--key", "*", "--source", "10.0.0.256"]));
    assert!(address.contains("10.0.0.256"), "{address}");
    assert!(installation.run(&create(&[])).status.code() == Some(2), "it is to something");
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0, "nothing was handed out");

    let made = installation.run(&create(&[
        "--key",
        "*",
        "--secret",
        "shop/*",
        "--source",
        "10.0.0.0/8",
        "--source",
        "127.0.0.1",
        "--days",
        "30",
    ]));
    assert!(made.status.success(), "{}", text(&made));
    for part in ["shop", "key/*, secret/shop/*", "10.0.0.0/8, 127.0.0.1", "valid until"] {
        assert!(text(&made).contains(part), "{part} is not in {}", text(&made));
    }
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 3);

    for _ in 0..2 {
        let made = installation.run(&["client-key", "create", "--aap", "shop", "--out", folder]);
        assert!(made.status.success(), "{}", text(&made));
    }
    let fourth = installation.refusal(&["client-key", "create", "--aap", "shop", "--out", folder]);
    assert!(fourth.contains("3 client keys"), "{fourth}");
    let listed = installation.run(&["client-key", "list", "--aap", "shop"]);
    let ids: Vec<_> = text(&listed)
        .lines()
        .filter_map(|line| line.split(' ').next().filter(|id| id.starts_with("KAAP.")).map(str::to_owned))
        .collect();
    assert_eq!(ids.len(), 3, "{}", text(&listed));
    assert!(installation.run(&["client-key", "delete", &ids[0]]).status.success());
    let listed = installation.run(&["client-key", "list"]);
    assert!(!text(&listed).contains(&ids[0]) && text(&listed).contains(&ids[2]), "{}", text(&listed));
    assert!(installation.refusal(&["client-key", "delete", &ids[0]]).contains(&ids[0]));
    assert!(installation.refusal(&["client-key", "list", "--aap", "nobody"]).contains("nobody"));
}
