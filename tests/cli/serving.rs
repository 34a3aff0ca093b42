//! The server as a process: ready, called, ended.

use crate::installation::{Installation, text};

#[test]
fn it_serves_until_it_is_told_to_end() {
    let installation = Installation::new();
    let server = installation.serve();
    let ready = installation.ready();
    assert_eq!(ready["instances"].as_array().unwrap().len(), 2);
    assert!(ready["control"]["endpoint"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(ready["telemetry"]["endpoint"].is_string());
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", ready["pid"])).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().nth(4), Some("0"), "no core dumps: {cores}");

    let made = installation.api(&["CreateKey", "--KeySpec", "EC_P256", "--Description=a \"b\" ü"]).unwrap();
    let id = made["KeyMetadata"]["KeyId"].as_str().unwrap();
    let key = installation.api(&["DescribeKey", "--KeyId", id]).unwrap()["KeyMetadata"].clone();
    assert_eq!((key["Description"].as_str(), key["ProtectionLevel"].as_str()), (Some("a \"b\" ü"), Some("HSM")));
    assert_eq!(key["Keystead"]["StorageMechanism"], "HsmInternal");
    for attribute in ["Local", "Sensitive", "AlwaysSensitive", "NeverExtractable"] {
        assert_eq!(key["Keystead"]["Attributes"][attribute], true, "{attribute}");
    }
    assert_eq!(key["Keystead"]["Attributes"]["Extractable"], false);
    let refused = installation.api(&["DescribeKey", "--KeyId", "key-hzz62f1cb66fa42qo0001"]).unwrap_err();
    assert_eq!(refused["Code"], "Forbidden.KeyNotFound");

    let (ended_well, log) = server.end();
    assert!(ended_well, "{log}");
    assert!(!installation.path("data/ready.json").exists());
    assert!(log.contains("operation=\"CreateKey\"") && log.contains("code=\"OK\""), "{log}");
    let pin = crate::softhsm::PIN;
    assert!(!log.contains(pin), "no PIN in the log");
    // What was made is there the next time.
    let server = installation.serve();
    installation.api(&["DescribeKey", "--KeyId", id]).unwrap();
    assert!(server.end().0);
}

#[test]
fn assisted_oaep_is_shown() {
    let installation = Installation::new();
    let server = installation.serve();
    let made = installation.api(&["CreateKey", "--KeySpec", "RSA_2048", "--KeyUsage", "ENCRYPT/DECRYPT"]).unwrap();
    let algorithms = made["KeyMetadata"]["Keystead"]["Algorithms"].as_array().unwrap().clone();
    let support =
        |name: &str| algorithms.iter().find(|line| line["Algorithm"] == name).unwrap()["Support"].as_str().unwrap().to_owned();
    // SoftHSM does OAEP with SHA-1 only.
    assert!(support("RSAES_OAEP_SHA_256").contains("decoded in the process"));
    assert_eq!(support("RSAES_OAEP_SHA_1"), "full");
    assert!(server.end().0);
    installation.configure(|text| text.replace("pin_file", "oaep = \"token-only\"\npin_file"));
    let server = installation.serve();
    let refused = installation.api(&["CreateKey", "--KeySpec", "RSA_2048", "--KeyUsage", "ENCRYPT/DECRYPT"]).unwrap_err();
    assert_eq!(refused["Code"], "UnsupportedOperation");
    assert!(refused["Message"].as_str().unwrap().contains("RSAES_OAEP_SHA_256"), "{refused}");
    assert!(server.end().0);
}

#[test]
fn a_new_access_key_replaces_the_lost_one_in_a_running_server() {
    let installation = Installation::new();
    let server = installation.serve();
    let old = std::fs::read(installation.path("data/access_key.json")).unwrap();
    installation.write_secret("old.json", std::str::from_utf8(&old).unwrap());
    let made = installation.run(&["init", "--new-access-key"]);
    assert!(made.status.success(), "{}", text(&made));
    // A running server sees it within a second.
    let begun = std::time::Instant::now();
    while installation.api(&["ListKeys"]).is_err() {
        assert!(begun.elapsed().as_secs() < 10, "the new AccessKey does not work");
    }
    let arguments = ["--log", "off", "api", "--access-key-file", "old.json", "ListKeys"];
    let refused = installation.run(&arguments);
    assert!(text(&refused).contains("InvalidAccessKeyId.NotFound"), "{}", text(&refused));
    assert!(server.end().0);
}

#[test]
fn api_tells_its_mistakes() {
    let installation = Installation::new();
    assert!(installation.refusal(&["api", "ListKeys"]).contains("--endpoint"), "no server runs");
    let server = installation.serve();
    assert!(installation.refusal(&["api", "ListKeys", "PageSize", "1"]).contains("--Param value"));
    assert!(installation.refusal(&["api", "ListKeys", "--PageSize"]).contains("PageSize"));
    // A CA that is not the server's is not believed.
    let stranger = Installation::new();
    let ca = stranger.path("data/ca.pem");
    assert!(installation.refusal(&["api", "--ca-file", ca.to_str().unwrap(), "ListKeys"]).contains("cannot be called"));
    installation.write_secret("description.txt", "@from a file\n");
    let file = format!("@{}", installation.path("description.txt").display());
    let made = installation.api(&["CreateKey", "--Description", &file]).unwrap();
    assert_eq!(made["KeyMetadata"]["Description"], "@from a file");
    assert!(server.end().0);
}
