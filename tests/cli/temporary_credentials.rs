//! Temporary credentials from the command line: `keystead api` by the sessions of a role, and access points for them.

use serde_json::Value;

use crate::installation::{Installation, text};

const TRUST: &str =
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":["acs:ram::0:user/alice"]}}]}"#;

/// With a Security Token Service, and alice, who is permitted nothing and may assume the role `app`; the file of her AccessKey.
fn installation() -> (Installation, String) {
    let installation = Installation::new();
    installation.configure(|text| text.replace("[telemetry]", "[sts]\nlisten = \"127.0.0.1:0\"\n[telemetry]"));
    installation.write_secret("trust.json", TRUST);
    for arguments in [
        &["operator", "create", "alice"][..],
        &["operator", "access-key", "create", "alice"],
        &["role", "create", "app", "--trust-file", "trust.json"],
    ] {
        let output = installation.run(arguments);
        assert!(output.status.success(), "{}", text(&output));
    }
    let mut file = installation.folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let file = file.find(|name| name.starts_with("accessKey_")).unwrap();
    (installation, file)
}

fn code(outcome: Result<Value, Value>) -> String {
    outcome.map_or_else(|error| error["Code"].as_str().unwrap_or_default().to_owned(), |_| "OK".to_owned())
}

/// A session of the role `app`, as it is answered.
fn assume(installation: &Installation, alice: &str) -> Value {
    let assume = ["AssumeRole", "--RoleArn", "acs:ram::0:role/app", "--RoleSessionName", "pod-1"];
    installation.api(&[&["--access-key-file", alice], &assume[..]].concat()).unwrap()
}

#[test]
fn the_credentials_of_a_session_call_operations() {
    let (installation, alice) = installation();
    installation
        .write_secret("own.json", r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:DescribeKey","Resource":"*"}]}"#);
    let attached = installation.run(&["role", "attach", "app", "--policy-file", "own.json"]);
    assert!(attached.status.success(), "{}", text(&attached));
    let server = installation.serve();
    let key = installation.key("Aliyun_AES_256", "ENCRYPT/DECRYPT");
    let assumed = assume(&installation, &alice);
    // The whole answer as well as the credentials alone.
    installation.write_secret("answer.json", &assumed.to_string());
    installation.write_secret("session.json", &assumed["Credentials"].to_string());
    for file in ["answer.json", "session.json"] {
        let by = |arguments: &[&str]| installation.api(&[&["--access-key-file", file], arguments].concat());
        assert_eq!(code(by(&["DescribeKey", "--KeyId", &key])), "OK");
        assert_eq!(code(by(&["ListKeys"])), "Forbidden.NoPermission");
        assert_eq!(by(&["GetCallerIdentity"]).unwrap()["Arn"], "acs:ram::0:assumed-role/app/pod-1");
    }
    // The operation whose requests need no signature is of the same service.
    let token = ["--OIDCProviderArn", "acs:ram::0:oidc-provider/none", "--OIDCToken", "a.b.c"];
    assert_eq!(code(installation.api(&[&["AssumeRoleWithOIDC"], &token[..]].concat())), "AuthenticationFail.OIDCToken.Invalid");
    let mut without = assumed["Credentials"].clone();
    without["SecurityToken"] = "".into();
    installation.write_secret("without.json", &without.to_string());
    assert_eq!(code(installation.api(&["--access-key-file", "without.json", "ListKeys"])), "MissingSecurityToken");
    assert_eq!(code(installation.api(&["--access-key-file", &alice, "DescribeKey", "--KeyId", &key])), "Forbidden.NoPermission");
    assert!(server.end().0);
}

/// The arguments for an access point for all keys of an instance.
fn create_aap<'a>(instance: &'a str, name: &'a str, method: &'a str) -> [&'a str; 10] {
    ["aap", "create", "--instance", instance, "--name", name, "--key", "*", "--authentication-method", method]
}

#[test]
fn a_program_without_a_stored_secret_uses_a_key() {
    let (installation, alice) = installation();
    let instance = installation.software.to_string();
    let made = installation.run(&create_aap(&instance, "app", "RAMRole"));
    assert!(made.status.success(), "{}", text(&made));
    assert!(text(&made).contains("acs:ram::0:role/app; there is no client key"), "{}", text(&made));
    let files: Vec<_> = installation.folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!files.iter().any(|name| name.to_str().unwrap().starts_with("clientKey_")), "{files:?}");
    assert!(installation.path(&format!("PrivateKmsCA_{instance}.pem")).is_file());
    let shown = text(&installation.run(&["role", "show", "app"]));
    assert!(shown.contains("access point app, by the permission policies app"), "{shown}");
    let refusal = installation.refusal(&["client-key", "create", "--aap", "app"]);
    assert!(refusal.contains("has no client keys") && refusal.contains("RAMRole"), "{refusal}");

    let server = installation.serve();
    let created = installation.api(&["CreateKey", "--DKMSInstanceId", &instance]).unwrap();
    let key = created["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    installation.write_secret("session.json", &assume(&installation, &alice).to_string());
    let by = |arguments: &[&str]| installation.api(&[&["--access-key-file", "session.json"], arguments].concat());
    let encrypted = by(&["Encrypt", "--KeyId", &key, "--Plaintext", "eA=="]).unwrap();
    let decrypted = by(&["Decrypt", "--CiphertextBlob", encrypted["CiphertextBlob"].as_str().unwrap()]).unwrap();
    assert_eq!(decrypted["Plaintext"], "eA==");
    assert_eq!(code(by(&["ListKeys"])), "Forbidden.NoPermission");
    assert!(server.end().0);
    let found = text(&installation.run(&["audit", "search", "--caller", "app", "--operation", "Encrypt"]));
    assert!(found.contains("\"access_point\":\"app\"") && found.contains("\"policy\":\"app\""), "{found}");
}

#[test]
fn what_does_not_fit_a_role_is_said() {
    let (installation, _) = installation();
    let instance = installation.software.to_string();
    let aap = |name: &str, more: &[&str]| installation.refusal(&[&create_aap(&instance, name, "RAMRole")[..], more].concat());
    assert!(aap("nobody", &[]).contains("keystead role create nobody"));
    assert!(aap("app", &["--days", "30"]).contains("--days"));
    let other = installation.run(&create_aap(&instance, "app", "None"));
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other).contains("ClientKey and RAMRole"), "{}", text(&other));

    // A role that is made anew is told what it does not get.
    let run = |arguments: &[&str]| {
        let output = installation.run(arguments);
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    run(&["aap", "create", "--instance", &instance, "--name", "app", "--key", "*", "--authentication-method", "RAMRole"]);
    assert!(run(&["role", "delete", "app"]).contains("The application access point app grants nothing any more"));
    assert!(run(&["role", "create", "app", "--trust-file", "trust.json"]).contains("made for a former role"));
    assert!(!run(&["role", "show", "app"]).contains("access point"));
}

#[test]
fn without_a_security_token_service_there_is_nobody_to_ask() {
    let installation = Installation::new();
    let server = installation.serve();
    let said = installation.refusal(&["api", "GetCallerIdentity"]);
    assert!(said.contains("[sts]"), "{said}");
    installation.write_secret("half.json", r#"{"AccessKeyId":"STS.x","SecurityToken":"y"}"#);
    let said = installation.refusal(&["api", "--access-key-file", "half.json", "ListKeys"]);
    assert!(said.contains("half.json") && said.contains("SecurityToken"), "{said}");
    assert!(server.end().0);
}
