//! Roles from the command line: made with who may assume them, permitted, changed, deleted.

use crate::installation::{Installation, text};

fn trust(principal: &str) -> String {
    format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{{"RAM":["{principal}"]}}}}]}}"#
    )
}

#[test]
fn a_role_is_made_changed_and_deleted() {
    let installation = Installation::new();
    let run = |arguments: &[&str]| {
        let output = installation.run(&[&["role"], arguments].concat());
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    installation.write_secret("trust.json", &trust("acs:ram::0:user/alice"));
    installation
        .write_secret("own.json", r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:Encrypt","Resource":"*"}]}"#);
    let made = run(&["create", "deployer", "--trust-file", "trust.json", "--policy-file", "own.json", "--description", "ships"]);
    assert!(made.contains("acs:ram::0:role/deployer") && made.contains("own"), "{made}");
    run(&["attach", "deployer", "--policy", "AliyunKMSReadOnlyAccess"]);
    let listed = run(&["list"]);
    assert!(
        listed.contains("deployer") && listed.contains("3600 s") && listed.contains("AliyunKMSReadOnlyAccess, own"),
        "{listed}"
    );
    assert!(!listed.contains("administrator"), "operators are no roles: {listed}");
    run(&["detach", "deployer", "own"]);
    installation.write_secret("other.json", &trust("acs:ram::0:role/ci"));
    run(&["trust", "deployer", "--trust-file", "other.json", "--max-session", "7200"]);
    let shown = run(&["show", "deployer"]);
    for part in [trust("acs:ram::0:role/ci").as_str(), "7200 s", "ships", "kms:List*"] {
        assert!(shown.contains(part), "{part} is not in: {shown}");
    }
    assert!(!shown.contains("kms:Encrypt"), "{shown}");
    let searched = text(&installation.run(&["audit", "search", "--operation", "role trust"]));
    assert!(searched.contains("deployer"), "{searched}");
    run(&["delete", "deployer"]);
    assert!(installation.refusal(&["role", "show", "deployer"]).contains("There is no role deployer"));
}

#[test]
fn what_is_wrong_is_said_and_changes_nothing() {
    let installation = Installation::new();
    installation.write_secret("trust.json", &trust("acs:ram::0:user/alice"));
    installation.write_secret("account.json", &trust("acs:ram::0:root"));
    let refused = |arguments: &[&str], said: &str| {
        let line = installation.refusal(&[&["role"], arguments].concat());
        assert!(line.contains(said), "{said} is not in: {line}");
    };
    refused(&["create", "deployer", "--trust-file", "account.json"], "account.json: The Principal \"acs:ram::0:root\"");
    refused(&["create", "deployer", "--trust-file", "nowhere.json"], "nowhere.json");
    refused(&["create", "administrator", "--trust-file", "trust.json"], "already");
    assert!(installation.run(&["operator", "create", "alice"]).status.success());
    for arguments in [
        &["delete", "alice"][..],
        &["show", "alice"],
        &["detach", "alice", "own"],
        &["attach", "alice", "--policy", "AliyunKMSFullAccess"],
        &["trust", "alice", "--trust-file", "trust.json"],
    ] {
        refused(arguments, "There is no role alice");
    }
    let shown = text(&installation.run(&["operator", "show", "alice"]));
    assert!(shown.contains("alice (User)") && !shown.contains("AliyunKMSFullAccess"), "{shown}");
    assert_eq!(installation.run(&["role", "trust", "alice"]).status.code(), Some(2), "there is nothing to change");
    let too_long = installation.run(&["role", "create", "deployer", "--trust-file", "trust.json", "--max-session", "43201"]);
    assert_eq!(too_long.status.code(), Some(2));
    assert!(!text(&installation.run(&["role", "list"])).contains("deployer"));
}
