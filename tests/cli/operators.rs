//! Operators from the command line: made, permitted, handed an AccessKey, and the end of all that.

use std::time::Instant;

use crate::installation::{Installation, mode, text};

/// Repeats until the running server knows of a change, which takes it less than a second.
fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed().as_secs() < 10, "{what}");
    }
}

fn code(outcome: Result<serde_json::Value, serde_json::Value>) -> String {
    outcome.map_or_else(|error| error["Code"].as_str().unwrap_or_default().to_owned(), |_| "OK".to_owned())
}

#[test]
fn an_operator_gets_what_its_policies_say_and_no_more() {
    let installation = Installation::new();
    let server = installation.serve();
    let made = installation.api(&["CreateKey"]).unwrap();
    let key = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let policy = format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":["kms:DescribeKey","kms:Encyrpt"],"Resource":"acs:kms:*:*:key/{key}"}}]}}"#
    );
    std::fs::write(installation.path("readers.json"), &policy).unwrap();
    let created = installation.run(&["operator", "create", "alice", "--policy-file", "readers.json", "--description", "the first"]);
    assert!(created.status.success(), "{}", text(&created));
    assert!(
        text(&created).contains("readers") && text(&created).contains("no operation fits the action kms:encyrpt"),
        "{}",
        text(&created)
    );
    assert!(!text(&created).contains("fits the action kms:describekey"), "{}", text(&created));

    let handed_out = installation.run(&["operator", "access-key", "create", "alice", "--out", "."]);
    assert!(handed_out.status.success(), "{}", text(&handed_out));
    let files: Vec<_> = std::fs::read_dir(installation.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("accessKey_"))
        .collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    assert_eq!(mode(file), 0o600);
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let id = json["AccessKeyId"].as_str().unwrap();
    assert!(file.to_str().unwrap().ends_with(&format!("accessKey_{id}.json")));
    assert!(!text(&handed_out).contains(json["AccessKeySecret"].as_str().unwrap()), "the secret is in the file alone");

    let by = file.to_str().unwrap();
    let describe = || installation.api(&["--access-key-file", by, "DescribeKey", "--KeyId", &key]);
    let list = || code(installation.api(&["--access-key-file", by, "ListKeys"]));
    assert_eq!(code(describe()), "OK", "a running server knows of it when the command returns");
    assert_eq!(list(), "Forbidden.NoPermission");
    assert!(installation.run(&["operator", "attach", "alice", "--policy", "AliyunKMSReadOnlyAccess"]).status.success());
    until("the policy is attached", || list() == "OK");
    let shown = text(&installation.run(&["operator", "show", "alice"]));
    assert!(shown.contains("the first") && shown.contains(&policy) && shown.contains("AliyunKMSReadOnlyAccess"), "{shown}");
    let listed = text(&installation.run(&["operator", "list"]));
    assert!(listed.contains("administrator") && listed.contains("AliyunKMSReadOnlyAccess, readers"), "{listed}");
    assert!(installation.run(&["operator", "detach", "alice", "AliyunKMSReadOnlyAccess"]).status.success());
    until("the policy is gone", || list() == "Forbidden.NoPermission");

    assert!(installation.run(&["operator", "access-key", "disable", id]).status.success());
    until("it is disabled", || list() == "Forbidden.AccessKey");
    let listed = text(&installation.run(&["operator", "access-key", "list", "alice"]));
    assert!(listed.contains(id) && listed.contains("Inactive"), "{listed}");
    assert!(installation.run(&["operator", "access-key", "enable", id]).status.success());
    until("it is enabled", || code(describe()) == "OK");
    assert!(installation.run(&["operator", "delete", "alice"]).status.success());
    until("it is gone", || list() == "InvalidAccessKeyId.NotFound");
    installation.api(&["ListKeys"]).unwrap();
    assert!(server.end().0);
}

/// Policies know names alone: whoever deletes an operator or a role is told what the next of that name would get.
#[test]
fn what_still_names_who_is_deleted_is_told() {
    let installation = Installation::new();
    let server = installation.serve();
    let run = |arguments: &[&str]| {
        let output = installation.run(arguments);
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    for name in ["alice", "bob"] {
        run(&["operator", "create", name]);
    }
    let trust = |user: &str| {
        format!(
            r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{{"RAM":["acs:ram::0:{user}"]}}}}]}}"#
        )
    };
    installation.write_secret("users.json", &trust("user/alice"));
    installation.write_secret("roles.json", &trust("role/deployer"));
    run(&["role", "create", "deployer", "--trust-file", "users.json"]);
    run(&["role", "create", "chained", "--trust-file", "roles.json"]);
    let policy = r#"{"Version":"1","Statement":[{"Effect":"Allow","Principal":{"RAM":["acs:ram::0:root","acs:ram::0:user/alice"]},"Action":["kms:*"],"Resource":["*"]}]}"#;
    let made = installation.api(&["CreateKey", "--Policy", policy]).unwrap();
    let key = made["KeyMetadata"]["KeyId"].as_str().unwrap();
    installation.api(&["CreateKey"]).unwrap();

    let told = run(&["operator", "delete", "alice"]);
    let notes = [format!("the key policy of {key} still names alice"), "the role deployer still names alice".to_owned()];
    assert!(notes.iter().all(|note| told.contains(note)) && told.contains("made under this name next"), "{told}");
    assert_eq!(told.matches("still names").count(), 2, "{told}");
    let told = run(&["operator", "delete", "bob"]);
    assert!(!told.contains("note:") && !told.contains("next"), "{told}");
    let told = run(&["role", "delete", "deployer"]);
    assert!(told.contains("the trust policy of the role chained still names deployer"), "{told}");
    assert!(server.end().0);
}

#[test]
fn what_still_names_a_policy_or_a_rule_that_is_deleted_is_logged() {
    let installation = Installation::new();
    let server = installation.serve();
    let api = |arguments: &[&str]| drop(installation.api(arguments).unwrap());
    for name in ["used", "unused"] {
        api(&["CreateNetworkRule", "--Name", name, "--Type", "Private", "--SourcePrivateIp", r#"["10.0.0.0/8"]"#]);
    }
    let instance = installation.software.as_str();
    for (name, rules) in [("granting", r#"{"NetworkRules":["used"]}"#), ("idle", "{}")] {
        let permissions = r#"["RbacPermission/Template/CryptoServiceKeyUser"]"#;
        let named = ["--Name", name, "--KmsInstance", instance, "--Permissions", permissions, "--Resources", r#"["key/*"]"#];
        api(&[&["CreatePolicy"], &named[..], &["--AccessControlRules", rules]].concat());
    }
    let policies = r#"["granting"]"#;
    api(&["CreateApplicationAccessPoint", "--Name", "shop", "--AuthenticationMethod", "ClientKey", "--Policies", policies]);
    for name in ["used", "unused"] {
        api(&["DeleteNetworkRule", "--Name", name]);
    }
    for name in ["granting", "idle"] {
        api(&["DeletePolicy", "--Name", name]);
    }
    let (ended_well, log) = server.end();
    assert!(ended_well, "{log}");
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("the next one of this name is theirs")).collect();
    let [rule, policy] = &warnings[..] else { panic!("{log}") };
    assert!(rule.contains("used") && rule.contains(r#"["granting"]"#), "{rule}");
    assert!(policy.contains("granting") && policy.contains(r#"["shop"]"#), "{policy}");
}

#[test]
fn mistakes_with_operators_are_told_and_change_nothing() {
    let installation = Installation::new();
    let refused = |arguments: &[&str], said: &str| {
        let line = installation.refusal(&[&["operator"], arguments].concat());
        assert!(line.contains(said), "{said} is not in: {line}");
    };
    installation.write_secret("bad.json", r#"{"Version":"1","Statement":[{"Effect":"Allow","NotAction":"kms:*","Resource":"*"}]}"#);
    refused(&["create", "bob", "--policy-file", "bad.json"], "`NotAction`");
    refused(&["create", "bob", "--policy-file", "nowhere.json"], "nowhere.json");
    installation.write_secret("big.json", &" ".repeat(32_769));
    refused(&["create", "bob", "--policy-file", "big.json"], "32768 bytes");
    installation
        .write_secret("AliyunKMSFullAccess.json", r#"{"Version":"1","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}"#);
    refused(&["create", "bob", "--policy-file", "AliyunKMSFullAccess.json"], "built-in");
    assert_eq!(installation.run(&["operator", "create", "bob", "--policy", "Everything"]).status.code(), Some(2));
    refused(&["access-key", "create", "bob"], "There is no operator bob");
    refused(&["delete", "administrator"], "root");
    refused(&["attach", "administrator", "--policy", "AliyunKMSFullAccess"], "root");

    assert!(installation.run(&["operator", "create", "bob"]).status.success());
    refused(&["create", "bob"], "already");
    refused(&["attach", "bob"], "--policy");
    refused(&["detach", "bob", "none"], "no policy none");
    refused(&["access-key", "create", "bob", "--out", "nowhere"], "nowhere");
    for _ in 0..2 {
        assert!(installation.run(&["operator", "access-key", "create", "bob"]).status.success());
    }
    refused(&["access-key", "create", "bob"], "2 AccessKeys");
    let handed_out = std::fs::read_dir(installation.folder.path()).unwrap();
    let files = handed_out.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("accessKey_"));
    assert_eq!(files.count(), 2, "the file of the one that was refused is gone");
    refused(&["access-key", "delete", "KSAKaaaaaaaaaaaaaaaaaaaa"], "KSAKaaaaaaaaaaaaaaaaaaaa");
}
