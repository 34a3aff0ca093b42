//! The client's address behind proxies: by it operators' conditions and network rules decide, and only proxies are believed.

use keystead::model::access::NetworkRuleKind;
use keystead::model::operator::{Identity, IdentityKind};
use keystead::model::proxies::Proxies;
use keystead::service;
use keystead::service::requests::{CreateNetworkRule, PolicyChange};
use keystead::wire::instance_protocol::EncryptRequest;
use keystead::wire::signing::AcsScheme;
use serde_json::json;

use crate::bench::{Bench, Call, bench_behind};
use crate::shared::signed_call;

/// Who calls from here is what it is for.
const CLIENT: &str = "192.0.2.7";

fn behind(addresses: &str) -> Vec<ipnet::IpNet> {
    vec![addresses.parse().unwrap()]
}

/// An instance endpoint and the shared gateway that serve [`CLIENT`] and nobody else.
struct ForClient {
    bench: Bench,
    access_key: keystead::store::AccessKey,
}

async fn for_client(proxies: Proxies) -> ForClient {
    let bench = bench_behind(proxies).await;
    let rule = CreateNetworkRule {
        name: "rule".parse().unwrap(),
        kind: NetworkRuleKind::Private,
        sources: vec![CLIENT.to_owned()],
        description: String::new(),
    };
    bench.kms.create_network_rule(&bench.operator, rule).await.unwrap();
    let rules = (vec!["rule".parse().unwrap()], "{\"NetworkRules\":[\"rule\"]}".to_owned());
    let change = PolicyChange { rules: Some(rules), ..PolicyChange::default() };
    bench.kms.update_policy(&bench.operator, &"everything".parse().unwrap(), &change).await.unwrap();
    let text = json!({ "Version": "1", "Statement": [{
        "Effect": "Allow", "Action": "kms:*", "Resource": "*", "Condition": { "IpAddress": { "acs:SourceIp": CLIENT } },
    }] });
    let identity = Identity {
        name: "near".parse().unwrap(),
        kind: IdentityKind::User,
        policies: vec![service::policy_of("near".parse().unwrap(), &text.to_string()).unwrap()],
        description: String::new(),
        created: bench.kms.now(),
    };
    bench.store.create_identity(&identity).await.unwrap();
    let access_key = service::new_access_key(identity.name, bench.kms.now());
    bench.store.create_access_key(&access_key).await.unwrap();
    bench.kms.refresh().await.unwrap();
    ForClient { bench, access_key }
}

impl ForClient {
    /// What both endpoints answer to a request that comes so; nothing when the connection is ended.
    async fn statuses(&self, first: &[u8], forwarded: &[&str]) -> [Option<u16>; 2] {
        let headers = |call: Call| {
            let mut call = call;
            call.headers.extend(forwarded.iter().map(|value| ("x-forwarded-for".to_owned(), (*value).to_owned())));
            call
        };
        let bench = &self.bench;
        let by = (self.access_key.info.id.as_str(), &self.access_key.secret);
        let listing = signed_call(bench, by, AcsScheme::V3, "ListKeys", &[], |_| {});
        let encrypt = EncryptRequest { key_id: bench.aes.to_string(), plaintext: vec![7; 32], ..EncryptRequest::default() };
        let encrypting = bench.call("Encrypt", &encrypt).sign(&bench.client);
        [
            bench.send_after(first, bench.shared, "/?", headers(listing)).await.map(|answer| answer.status),
            bench.send_after(first, bench.address, "/", headers(encrypting)).await.map(|answer| answer.status),
        ]
    }
}

#[tokio::test]
async fn without_proxies_nobody_is_believed() {
    let server = for_client(Proxies::None).await;
    assert_eq!(server.statuses(b"", &[CLIENT]).await, [Some(403); 2]);
    assert_eq!(server.statuses(b"PROXY TCP4 192.0.2.7 127.0.0.1 1 443\r\n", &[]).await, [None; 2]);
}

#[tokio::test]
async fn a_header_of_a_trusted_proxy_names_the_client() {
    let header = || "X-Forwarded-For".parse().unwrap();
    let server = for_client(Proxies::Header { addresses: behind("127.0.0.0/8"), header: header() }).await;
    for (forwarded, status) in [
        (&[CLIENT][..], 200),
        (&["10.0.0.1", CLIENT], 200),
        (&["10.0.0.1, 192.0.2.7, 127.0.0.9"], 200),
        (&["192.0.2.7, 10.0.0.1"], 403),
        (&[], 403),
        (&["192.0.2.7, unknown"], 403),
    ] {
        assert_eq!(server.statuses(b"", forwarded).await, [Some(status); 2], "{forwarded:?}");
    }
    let elsewhere = for_client(Proxies::Header { addresses: behind("10.0.0.0/8"), header: header() }).await;
    assert_eq!(elsewhere.statuses(b"", &[CLIENT]).await, [Some(403); 2], "the peer is no proxy");
}

#[tokio::test]
async fn the_proxy_protocol_names_the_client() {
    let server = for_client(Proxies::Protocol { addresses: behind("127.0.0.0/8") }).await;
    let version_2 = |client: [u8; 4]| {
        let addresses = [&client[..], &[127, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb]].concat();
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"[..], &addresses].concat()
    };
    for (first, status) in [
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n".to_vec(), Some(200)),
        (b"PROXY TCP4 192.0.2.8 127.0.0.1 4711 443\r\n".to_vec(), Some(403)),
        (version_2([192, 0, 2, 7]), Some(200)),
        (version_2([192, 0, 2, 8]), Some(403)),
        (b"PROXY TCP4 nonsense\r\n".to_vec(), None),
    ] {
        // What requests say of themselves is not looked at.
        assert_eq!(server.statuses(&first, &["192.0.2.9"]).await, [status; 2], "{}", String::from_utf8_lossy(&first));
    }
    assert_eq!(server.statuses(b"", &[]).await, [None; 2], "a proxy that does not say for whom");
}
