//! Temporary credentials from the command line: `keystead api` by the sessions of a role.

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
    let mut without = assumed["Credentials"].clone();
    without["SecurityToken"] = "".into();
    installation.write_secret("without.json", &without.to_string());
    assert_eq!(code(installation.api(&["--access-key-file", "without.json", "ListKeys"])), "MissingSecurityToken");
    assert_eq!(code(installation.api(&["--access-key-file", &alice, "DescribeKey", "--KeyId", &key])), "Forbidden.NoPermission");
    assert!(server.end().0);
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
