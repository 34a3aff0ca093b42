//! An import that fails in the middle leaves nothing behind, and what was imported survives what the token goes through.

use std::time::Duration;

use keystead::base::{Kind, Result, SecretBytes};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::model::key::Material;
use keystead::tier::pkcs11::{Pkcs11Tier, Settings};
use keystead::tier::unwrapper::UNWRAPPING_SPEC;
use keystead::tier::{Created, Encryption, NewKey, OaepHash, PublicKey, StoredKey, Tier, Wrapped};

use crate::calls::{round_trip, seal, unseal, until};
use crate::fault::{self, Fault};
use crate::isolated::{isolated, runtime};
use crate::softhsm;
use crate::world::{connect, new_key, settings};

/// How long a test may wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often, and after what time, a call that was sent away is tried again.
const ATTEMPTS: usize = 100;
const PAUSE: Duration = Duration::from_millis(50);
/// How long an import that hangs may take to fail: connecting makes key pairs in that time, on a busy machine, too.
const GENERATION_DEADLINE: Duration = Duration::from_secs(10);

const MATERIAL: [u8; 32] = [7; 32];

fn aes() -> NewKey {
    new_key(KeySpec::Aes256, KeyUsage::EncryptDecrypt)
}

fn material() -> SecretBytes {
    SecretBytes::new(MATERIAL.to_vec())
}

/// Faults before the object is made by `function` and after, once and always; and when what it is like cannot be read afterwards. The
/// token has what it had before each time.
async fn leaves_nothing_behind(
    tier: &Pkcs11Tier,
    fault: &Fault,
    label: &str,
    function: &str,
    before: &[Vec<u8>],
    import: impl AsyncFn() -> Result<Created>,
) {
    let token = fault::token(label);
    for rule in [
        format!("fail {function} CKR_DEVICE_MEMORY"),
        format!("fail {function} CKR_DEVICE_MEMORY after"),
        format!("fail {function} CKR_ATTRIBUTE_VALUE_INVALID"),
        format!("fail {function} CKR_GENERAL_ERROR after"),
        "fail C_GetAttributeValue CKR_DEVICE_MEMORY".to_owned(),
        "fail C_GetAttributeValue CKR_FUNCTION_FAILED".to_owned(),
        format!("hang {function} times=1 after"),
    ] {
        let lasts = fault.rule(&format!("{rule} {token}"));
        // A slot that still recovers from the last fault sends callers away before they come to this one.
        for _ in 0..ATTEMPTS {
            let refused = import().await.err().unwrap_or_else(|| panic!("{rule}: imported"));
            assert_ne!(refused.kind(), Kind::InvalidParameter, "{rule}: {refused:?}");
            if lasts.fired() > 0 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        assert!(lasts.fired() > 0, "{rule}");
        drop(lasts);
        fault.tell("release");
        until(&rule, PATIENCE, async || tier.residents().await.is_ok_and(|residents| residents == before)).await;
    }
}

#[test]
fn an_unwrapping_that_fails_in_the_middle_leaves_nothing_behind() {
    isolated("import::an_unwrapping_that_fails_in_the_middle_leaves_nothing_behind", 1, || {
        let label = softhsm::token();
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = connect(Settings { generation_deadline: GENERATION_DEADLINE, ..settings(&label) }).await;
            let unwrapper = tier.unwrapper().unwrap();
            let named = new_key(UNWRAPPING_SPEC, KeyUsage::EncryptDecrypt);
            let pair = unwrapper.create_pair(named.id, named.label).await.unwrap();
            let public = PublicKey::from_spki(UNWRAPPING_SPEC, &pair.public_key.unwrap()).unwrap();
            let hash = OaepHash::Sha1;
            let ciphertext = public.encrypt(Encryption::RsaesOaep(hash), &material()).unwrap().ciphertext;
            let wrapped = || Wrapped { pair: pair.material.duplicate(), hash, ciphertext: ciphertext.clone() };
            let before = [pair.material.id().to_vec()];
            let unwrap = async || unwrapper.unwrap(aes(), wrapped()).await;
            leaves_nothing_behind(&tier, fault, &label, "C_UnwrapKey", &before, unwrap).await;
            until("it serves", PATIENCE, async || tier.health().await.is_ok()).await;
            // By the handle that the token had before its sessions were opened anew, or another.
            fault.tell(&format!("invalidate-sessions {}", fault::token(&label)));
            until("it unwraps", PATIENCE, async || unwrap().await.is_ok()).await;
            assert_eq!(tier.residents().await.unwrap().len(), 2);
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn an_import_that_fails_in_the_middle_leaves_nothing_behind() {
    isolated("import::an_import_that_fails_in_the_middle_leaves_nothing_behind", 1, || {
        let label = softhsm::token();
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = connect(Settings { generation_deadline: GENERATION_DEADLINE, ..settings(&label) }).await;
            let import = async || tier.import(aes(), material()).await;
            leaves_nothing_behind(&tier, fault, &label, "C_CreateObject", &[], import).await;
            // And goes on as if nothing had been.
            until("it serves", PATIENCE, async || tier.health().await.is_ok()).await;
            let made = tier.import(aes(), material()).await.unwrap();
            assert_eq!(tier.residents().await.unwrap(), [made.material.id().to_vec()]);
            tier.destroy(made.material).await.unwrap();
            assert!(tier.residents().await.unwrap().is_empty());
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn material_that_comes_back_is_another_object_and_the_same_key() {
    isolated("import::material_that_comes_back_is_another_object_and_the_same_key", 1, || {
        let label = softhsm::token();
        Fault::here();
        runtime().block_on(async {
            let tier = connect(settings(&label)).await;
            let open = async |material: Material| {
                let (spec, usage) = (KeySpec::Aes256, KeyUsage::EncryptDecrypt);
                tier.open(StoredKey { spec, usage, material, public_key: None, witness: None }).await.unwrap()
            };
            let first = tier.import(aes(), material()).await.unwrap();
            let handle = open(first.material.duplicate()).await;
            let sealed = seal(&*handle, Default::default(), b"before").await.unwrap();
            tier.destroy(first.material).await.unwrap();
            let second = tier.import(aes(), material()).await.unwrap();
            let again = open(second.material).await;
            assert!(unseal(&*again, Default::default(), b"before", &sealed).await.unwrap().constant_time_eq(b"before"));
            assert_eq!(round_trip(&*handle, b"now").await.unwrap_err().kind(), Kind::KeyNotFound, "the old object stays gone");
            Fault::here().tell(&format!("lose-login {}", fault::token(&label)));
            until("it works again", PATIENCE, async || round_trip(&*again, b"now").await.is_ok()).await;
            tier.close().await.unwrap();
        });
    });
}
