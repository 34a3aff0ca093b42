//! OIDC providers from the command line: made with their key sets, shown, changed, deleted.

use serde_json::json;

use crate::installation::{Installation, text};
use crate::tokens::Issuer;

#[test]
fn a_provider_is_made_changed_and_deleted() {
    let installation = Installation::new();
    let run = |arguments: &[&str]| {
        let output = installation.run(&[&["oidc-provider"], arguments].concat());
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    let (first, second) = (Issuer::new("first"), Issuer::new("second"));
    installation.write_secret("jwks.json", &first.key_set());
    let create = ["create", "cluster", "--issuer", "https://cluster.example", "--client-id", "keystead", "--client-id", "vault"];
    let made = run(&[&create[..], &["--jwks-file", "jwks.json", "--description", "the shop"]].concat());
    for part in ["acs:ram::0:oidc-provider/cluster", "https://cluster.example", "keystead", "vault", "12 hours", "first (ES256)"] {
        assert!(made.contains(part), "{part} is not in: {made}");
    }
    let listed = run(&["list"]);
    assert!(listed.contains("cluster ") && listed.contains("keystead, vault"), "{listed}");
    installation.write_secret("both.json", &json!({ "keys": [first.jwk(), second.jwk()] }).to_string());
    let updated = run(&["update", "cluster", "--jwks-file", "both.json"]);
    assert!(updated.contains("first (ES256)") && updated.contains("second (ES256)") && updated.contains("vault"), "{updated}");
    run(&["update", "cluster", "--client-id", "other", "--issuance-limit", "24", "--description", "all shops"]);
    for shown in [run(&["show", "cluster"]), run(&["describe", "cluster"])] {
        for part in ["client id    other", "24 hours", "all shops", "second (ES256)"] {
            assert!(shown.contains(part), "{part} is not in: {shown}");
        }
        assert!(!shown.contains("vault"), "{shown}");
    }
    let searched = text(&installation.run(&["audit", "search", "--operation", "oidc-provider update"]));
    assert!(searched.contains("cluster"), "{searched}");
    // A role that trusts it is made before or after it.
    let trust = |provider: &str| {
        json!({ "Version": "1", "Statement": [{
            "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "Federated": [format!("acs:ram::0:oidc-provider/{provider}")] },
            "Condition": { "StringEquals": { "oidc:sub": "system:serviceaccount:shop:payments" } },
        }] })
    };
    installation.write_secret("trust.json", &trust("cluster").to_string());
    installation.write_secret("other.json", &trust("other").to_string());
    let role = |arguments: &[&str]| text(&installation.run(&[&["role"], arguments].concat()));
    let made = role(&["create", "deployer", "--trust-file", "trust.json"]);
    assert!(made.contains("acs:ram::0:role/deployer") && !made.contains("no OIDC provider"), "{made}");
    let changed = role(&["trust", "deployer", "--trust-file", "other.json"]);
    assert!(changed.contains("is changed") && changed.contains("there is no OIDC provider other"), "{changed}");
    role(&["create", "builder", "--trust-file", "trust.json"]);
    let deleted = run(&["delete", "cluster"]);
    assert!(
        deleted.contains("the trust policy of the role builder still names cluster") && !deleted.contains("deployer"),
        "{deleted}"
    );
    assert!(installation.refusal(&["oidc-provider", "show", "cluster"]).contains("There is no OIDC provider cluster"));
}

#[test]
fn what_is_wrong_is_said_and_changes_nothing() {
    let installation = Installation::new();
    installation.write_secret("jwks.json", &Issuer::new("1").key_set());
    installation.write_secret("empty.json", r#"{"keys":[]}"#);
    installation.write_secret("secret.json", r#"{"keys":[{"kty":"oct","kid":"h","k":"AAAA"}]}"#);
    installation.write_secret("long.json", &" ".repeat(100_000));
    let create = |ids: &[&'static str], file: &'static str| {
        let mut arguments = vec!["oidc-provider", "create", "cluster", "--issuer", "https://cluster.example", "--jwks-file", file];
        arguments.extend(ids.iter().flat_map(|id| ["--client-id", *id]));
        arguments
    };
    for (arguments, said) in [
        (create(&["a"], "nowhere.json"), "nowhere.json cannot be read"),
        (create(&["a"], "empty.json"), "empty.json: The key set has no key"),
        (create(&["a"], "secret.json"), "a secret"),
        (create(&["a"], "long.json"), "long.json: A key set has at most 65536 bytes"),
        (create(&["a", "a"], "jwks.json"), "given twice"),
        (vec!["oidc-provider", "update", "cluster", "--client-id", "a"], "There is no OIDC provider cluster"),
        (vec!["oidc-provider", "delete", "cluster"], "There is no OIDC provider cluster"),
    ] {
        let line = installation.refusal(&arguments);
        assert!(line.contains(said), "{said} is not in: {line}");
    }
    let usage = |arguments: &[&str]| assert_eq!(installation.run(arguments).status.code(), Some(2), "{arguments:?}");
    usage(&create(&[], "jwks.json"));
    usage(&["oidc-provider", "update", "cluster"]);
    let at = |issuer, hours| {
        let fixed = ["oidc-provider", "create", "cluster", "--client-id", "a", "--jwks-file", "jwks.json"];
        [&fixed[..], &["--issuer", issuer, "--issuance-limit", hours]].concat()
    };
    usage(&at("http://cluster.example", "12"));
    usage(&at("https://cluster.example", "0"));
    usage(&at("https://cluster.example", "169"));
    assert!(!text(&installation.run(&["oidc-provider", "list"])).contains("cluster"));
    assert!(installation.run(&at("https://cluster.example", "168")).status.success());
    assert!(installation.refusal(&create(&["a"], "jwks.json")).contains("There is an OIDC provider cluster already"));
}
