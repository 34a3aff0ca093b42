//! Private keys as PKCS #8, and secret keys, as they are imported: what is taken is a whole, working key of one spec. The
//! seeds are keys that were made for this and are used nowhere else.

use keystead::base::{Result, SecretBytes};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::model::key::Material;
use keystead::tier::public_key::Validity;
use keystead::tier::software::SoftwareTier;
use keystead::tier::{Created, NewKey, PublicKey, Share, StoredKey, Tier};

use super::{Verdict, tells};

pub fn check(input: &[u8]) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let tier = SoftwareTier::new();
        let mut read = None;
        for spec in KeySpec::ALL {
            match import(&tier, *spec, input).await {
                Ok(created) => {
                    // The bytes of a secret key do not say what for.
                    assert!(read.is_none() || spec.is_symmetric(), "{spec} and another");
                    works(&tier, *spec, &created).await;
                    read = Some(created);
                }
                Err(error) => tells(&error),
            }
        }
        Verdict::of(read.as_ref())
    })
}

async fn import(tier: &SoftwareTier, spec: KeySpec, material: &[u8]) -> Result<Created> {
    let usage = if spec.is_symmetric() { spec.usages()[0] } else { KeyUsage::SignVerify };
    let key = NewKey { id: b"key".to_vec(), label: "key".to_owned(), spec, usage };
    tier.import(key, SecretBytes::new(material.to_vec())).await
}

async fn works(tier: &SoftwareTier, spec: KeySpec, created: &Created) {
    let Material::Held { secret: material, .. } = &created.material else { panic!("the software tier holds what it has") };
    let again = import(tier, spec, material.expose()).await.expect("its own encoding");
    assert!(matches!(&again.material, Material::Held { secret, .. } if secret.constant_time_eq(material.expose())));
    assert_eq!(again.public_key, created.public_key);
    assert_eq!(created.public_key.is_some(), !spec.is_symmetric());
    for algorithm in spec.signature_algorithms() {
        let (material, public_key) = (again.material.duplicate(), created.public_key.clone());
        let stored = StoredKey { spec, usage: KeyUsage::SignVerify, material, public_key: public_key.clone(), witness: None };
        let key = tier.open(stored).await.expect("it was taken");
        let signature = key.signer().expect("it signs").sign(Share::default(), *algorithm, [7; 32]).await.expect("it signs");
        let public = PublicKey::from_spki(spec, &public_key.expect("a pair")).expect("the public half");
        assert_eq!(public.verify(*algorithm, &[7; 32], &signature).expect("it fits"), Validity::Valid);
    }
}
