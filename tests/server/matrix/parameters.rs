//! Every parameter of every operation of the OpenAPI that is served: a value that is none of its is refused, and so is one that a client
//! took apart. What is not read would be what a caller asks for and silently does not get.

use std::collections::{BTreeMap, BTreeSet};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http2::SendRequest;
use keystead::wire::openapi::Action;

use super::world::World;
use super::{Address, Credential, Resource, openapi, shown};
use crate::bench::{answer_of, request};
use crate::shared::query;

/// The parameters of the operations, as the API has them.
const API: &str = include_str!("../../vectors/openapi-parameters.json");

const INVALID: &str = "400 InvalidParameter";
const NO_KEY: &str = "404 Forbidden.KeyNotFound";

/// Operations, a parameter of theirs, a value that is none of its, the answer. The lines of `any` hold for operations that no other line
/// names. `LONG` stands for more characters than any text may have.
const WRONG: &[[&str; 4]] = &[
    // Keys.
    ["any", "KeyId", "nonsense", NO_KEY],
    ["any", "KeyId", "alias/nobody", "404 Forbidden.AliasNotFound"],
    [BY_ID, "KeyId", "nonsense", NO_KEY],
    ["any", "DestinationKeyId", "nonsense", NO_KEY],
    ["any", "DKMSInstanceId", "kst-x", INVALID],
    ["any", "DKMSInstanceId", "kst-aaaaaaaaaaaaaaaaaaaaa", "403 Forbidden.DKMSInstanceNotFound"],
    ["any", "Description", LONG, INVALID],
    ["any", "DeletionProtectionDescription", LONG, INVALID],
    ["any", "KeySpec", "AES_512", INVALID],
    ["any", "KeyUsage", "EVERYTHING", INVALID],
    ["any", "Origin", "aliyun_kms", INVALID],
    ["any", "ProtectionLevel", "BOGUS", INVALID],
    ["any", "ProtectionLevel", "HSM", "400 Unsupported.ProtectionLevel"],
    ["any", "KeyStorageMechanism", "Vault", INVALID],
    ["any", "KeyStorageMechanism", "HsmInternal", "400 UnsupportedOperation"],
    ["any", "Policy", "{}", INVALID],
    ["any", "PolicyName", "other", "404 Forbidden.ResourceNotFound"],
    ["any", "EnableAutomaticRotation", "perhaps", INVALID],
    ["any", "RotationInterval", "often", INVALID],
    ["any", "RotationInterval", "1d", INVALID],
    ["any", "PendingWindowInDays", "6", INVALID],
    ["any", "EnableDeletionProtection", "perhaps", INVALID],
    ["any", "ProtectedResourceArn", "acs:kms:r:0:key/other", INVALID],
    ["any", "AliasName", "nonsense", INVALID],
    ["any", "KeyVersionId", "nonsense", INVALID],
    // Instances.
    ["SetDeletionProtection", "KmsInstanceId", "kst-aaaaaaaaaaaaaaaaaaaaa", "400 UnsupportedOperation"],
    ["any", "KmsInstanceId", "kst-x", INVALID],
    ["any", "Filters", "nonsense", INVALID],
    ["any", "Filters", "[{\"Key\":\"Color\",\"Values\":[\"red\"]}]", INVALID],
    ["any", "PageNumber", "0", INVALID],
    ["any", "PageSize", "101", INVALID],
    // Tags.
    ["any", "Tags", "{}", INVALID],
    ["any", "TagKeys", "acs:a", "400 InvalidParameter.TagKey"],
    ["any", "TagKey.1", "acs:a", "400 InvalidParameter.TagKey"],
    ["any", "Tag.1.Key", "acs:a", "400 InvalidParameter.TagKey"],
    ["TagResources", "Tag.1.Value", "*", "400 InvalidParameter.TagValue"],
    // Without its key.
    ["ListTagResources", "Tag.1.Value", "a", INVALID],
    ["any", "ResourceId.1", "nonsense", "404 InvalidResourceId.NotFound"],
    ["any", "ResourceType", "nonsense", INVALID],
    ["any", "CertificateId", "a", INVALID],
    ["any", "SecretName", "a", INVALID],
    ["any", "All", "perhaps", INVALID],
    ["any", "NextToken", "nonsense", INVALID],
    // Cryptography.
    ["any", "DryRun", "perhaps", INVALID],
    ["any", "EncryptionContext", "[]", INVALID],
    ["any", "SourceEncryptionContext", "[]", INVALID],
    ["any", "DestinationEncryptionContext", "[]", INVALID],
    ["Encrypt", "Plaintext", LONG, INVALID],
    ["any", "Plaintext", NO_BASE64, INVALID],
    ["any", "CiphertextBlob", NO_BASE64, INVALID],
    ["any", "Recipient", "a", "400 UnsupportedOperation"],
    ["any", "NumberOfBytes", "0", INVALID],
    ["any", "NumberOfBytes", "1025", INVALID],
    ["any", "Algorithm", "ROT_13", INVALID],
    ["any", "Digest", "eA==", INVALID],
    ["any", "Value", NO_BASE64, INVALID],
    ["any", "Message", NO_BASE64, INVALID],
    ["any", "Mac", NO_BASE64, INVALID],
    ["any", "PublicKeyBlob", NO_BASE64, INVALID],
    ["any", "WrappingAlgorithm", "ROT_13", INVALID],
    ["any", "WrappingKeySpec", "RSA_512", INVALID],
    // It comes with the version and the algorithm, which belong to it.
    ["any", "SourceKeyId", "nonsense", "400 MissingParameter"],
    ["any", "SourceKeyVersionId", "nonsense", INVALID],
    ["any", "SourceEncryptionAlgorithm", "ROT_13", INVALID],
    // Imports.
    ["any", "ImportToken", NO_BASE64, "400 InvalidImportToken"],
    ["any", "EncryptedKeyMaterial", NO_BASE64, "400 InvalidKeyMaterial"],
    ["any", "KeyMaterialExpireUnix", "-1", INVALID],
    ["any", "KeyMaterialExpireUnix", "1", INVALID],
    // Access.
    ["any", "Name", "a b", INVALID],
    ["any", "Type", "Open", INVALID],
    ["any", "SourcePrivateIp", "[\"10.0.0.0/99\"]", INVALID],
    ["UpdateNetworkRule", "SourcePrivateIp", "", INVALID],
    ["any", "KmsInstance", "kst-x", INVALID],
    ["any", "Permissions", "[\"Everything\"]", INVALID],
    ["UpdatePolicy", "Permissions", "", INVALID],
    ["any", "Resources", "[\"everything\"]", INVALID],
    ["UpdatePolicy", "Resources", "", INVALID],
    ["any", "AccessControlRules", "[]", INVALID],
    ["UpdatePolicy", "AccessControlRules", "", INVALID],
    ["UpdatePolicy", "AccessControlRules", "{}", INVALID],
    ["any", "Policies", "[\"a b\"]", INVALID],
    ["UpdateApplicationAccessPoint", "Policies", "", INVALID],
    ["any", "AuthenticationMethod", "Password", INVALID],
    ["any", "AapName", "a b", INVALID],
    ["any", "Password", "short", INVALID],
    ["any", "NotBefore", "soon", INVALID],
    ["any", "NotAfter", "soon", INVALID],
    ["any", "ClientKeyId", "KAAP.nonsense", "404 Forbidden.ResourceNotFound"],
];

/// Those that do not take an alias.
const BY_ID: &str = "SetDeletionProtection|EnableKey|DisableKey|ScheduleKeyDeletion|CancelKeyDeletion|UpdateKeyDescription|\
                     ListAliasesByKeyId|GetKeyPolicy|SetKeyPolicy|CreateAlias|UpdateAlias";
const LONG: &str = "LONG";
const NO_BASE64: &str = "?";

/// Parameters that select what an operation acts on: refused by the operations that the API gives them not to.
const SELECTING: [&str; 9] = [
    "KeyId",
    "KeyVersionId",
    "SourceKeyId",
    "SourceKeyVersionId",
    "DestinationKeyId",
    "ProtectionLevel",
    "DKMSInstanceId",
    "KmsInstanceId",
    "KmsInstance",
];

/// Operations, and a parameter of theirs that is not read.
const UNREAD: &[[&str; 2]] = &[
    // Clients send that of their own configuration.
    ["TagResources|UntagResources|ListTagResources", "RegionId"],
];

fn names(operations: &str, action: Action) -> bool {
    operations.split('|').any(|operation| operation == action.name())
}

/// The lines of a parameter of an operation.
fn wrong(action: Action, parameter: &str) -> Vec<usize> {
    let of = |fits: &dyn Fn(&str) -> bool| -> Vec<usize> {
        WRONG.iter().enumerate().filter(|(_, line)| line[1] == parameter && fits(line[0])).map(|(number, _)| number).collect()
    };
    let own = of(&|operations| names(operations, action));
    if own.is_empty() { of(&|operations| operations == "any") } else { own }
}

/// An operator who may everything, and what came of what was sent.
struct Asking {
    world: World,
    sender: SendRequest<Full<Bytes>>,
    wrong: Vec<String>,
}

impl Asking {
    async fn ask(&mut self, action: Action, parameters: &[(String, String)], expected: &str) {
        let flat: Vec<_> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let call = self.world.by_access_key(Credential::Administrator, action, &flat);
        let call = call.set("x-forwarded-for", Address::Inside.text());
        let sent = self.sender.send_request(request(self.world.bench.shared, &query(&flat), call)).await.unwrap();
        let answer = shown(&answer_of(sent).await);
        if answer != expected {
            self.wrong.push(format!("{} with {parameters:.200?}: {answer} instead of {expected}", action.name()));
        }
    }
}

/// These, but that one parameter has another value.
fn with(good: &[(&'static str, String)], (name, value): (&str, &str)) -> Vec<(String, String)> {
    let whole = name.split('.').next().unwrap();
    let replaced = |known: &str| known == name || (known == whole && name != whole);
    let kept = good.iter().filter(|(known, _)| !replaced(known)).map(|(known, is)| ((*known).to_owned(), is.clone()));
    kept.chain([(name.to_owned(), value.replace(LONG, &"x".repeat(8193)))]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_parameter_is_read_or_refused() {
    let api: BTreeMap<String, Vec<String>> = serde_json::from_str(API).unwrap();
    let served: BTreeSet<_> = Action::ALL.iter().map(|action| action.name()).collect();
    assert_eq!(api.keys().map(String::as_str).collect::<BTreeSet<_>>(), served, "the parameters of each operation are known");
    let world = World::new().await;
    let sender = world.bench.http2(world.bench.shared).await;
    let mut asking = Asking { world, sender, wrong: Vec::new() };
    let (mut lines, mut free) = (BTreeSet::new(), BTreeSet::new());
    for (operation, parameters) in &api {
        let action: Action = operation.parse().unwrap();
        let mut good = openapi::request(&asking.world, action, Resource::InScope).await;
        if good.is_none() {
            good = openapi::request(&asking.world, action, Resource::None).await;
        }
        let good = good.expect("each operation has a request").parameters;
        let before = asking.world.bench.store.revision().await.unwrap();
        for parameter in parameters {
            let known = wrong(action, parameter);
            let any = UNREAD.iter().position(|[operations, known]| known == parameter && names(operations, action));
            assert_ne!(known.is_empty(), any.is_none(), "{operation} has {parameter}, and one list says what is wrong of it");
            free.extend(any);
            for number in known {
                lines.insert(number);
                asking.ask(action, &with(&good, (parameter, WRONG[number][2])), WRONG[number][3]).await;
            }
            // As clients send arrays and objects that nobody made a text of.
            if !parameter.contains('.') && !action.read_in_parts().contains(&parameter.as_str()) {
                for part in ["1", "1.Key", "Key"] {
                    asking.ask(action, &with(&good, (&format!("{parameter}.{part}"), "a")), INVALID).await;
                }
            }
        }
        for selecting in SELECTING.iter().filter(|name| !parameters.iter().any(|known| known == *name)) {
            asking.ask(action, &with(&good, (selecting, "a")), INVALID).await;
        }
        if asking.world.bench.store.revision().await.unwrap() != before {
            asking.wrong.push(format!("{operation}: what was refused has changed something"));
        }
        if !action.read_in_parts().iter().any(|name| name.ends_with("EncryptionContext")) {
            asking.ask(action, &with(&good, ("EncryptionContext", "{\"a\":\"b\"}")), INVALID).await;
        }
        // It is the wrong value that is refused.
        let good: Vec<_> = good.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        asking.ask(action, &good, "200").await;
    }
    assert!(asking.wrong.is_empty(), "{}", asking.wrong.join("\n"));
    let unused: Vec<_> = (0..WRONG.len()).filter(|number| !lines.contains(number)).map(|number| WRONG[number]).collect();
    assert!(unused.is_empty() && free.len() == UNREAD.len(), "no parameter is as these lines say: {unused:?}");
}
