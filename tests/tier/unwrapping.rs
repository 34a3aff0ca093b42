//! Keys that a token unwraps: they are what was wrapped, stay in the token, and the pair that unwraps does nothing else.

use keystead::base::Kind;
use keystead::model::algorithm::{Family, KeySpec, KeyUsage};
use keystead::model::key::{Arrival, Material, SubjectPublicKeyInfo};
use keystead::tier::unwrapper::{UNWRAPPING_BYTES, UNWRAPPING_SPEC};
use keystead::tier::{Ability, Created, Decryption, Encryption, OaepHash, PublicKey, Share, StoredKey, Unwrapper, Wrapped};

use crate::bench::{
    Bench, assert_mute, assert_refused, decrypt, decryption, encrypt, encryption, new_key, round_trip, secret, text,
};

const HASHES: [OaepHash; 2] = [OaepHash::Sha256, OaepHash::Sha1];
const SPECS: [KeySpec; 3] = [KeySpec::Aes128, KeySpec::Aes192, KeySpec::Aes256];

/// A pair in the token, and its public half.
struct Pair {
    material: Material,
    public_key: SubjectPublicKeyInfo,
}

impl Pair {
    async fn new(unwrapper: &dyn Unwrapper) -> Self {
        // A name as that of every key.
        let named = new_key(UNWRAPPING_SPEC, KeyUsage::EncryptDecrypt);
        let Created { material, public_key, .. } = unwrapper.create_pair(named.id, named.label).await.unwrap();
        Self { material, public_key: public_key.unwrap() }
    }

    fn wrap(&self, hash: OaepHash, material: &[u8]) -> Wrapped {
        let public = PublicKey::from_spki(UNWRAPPING_SPEC, &self.public_key).unwrap();
        let ciphertext = public.encrypt(Encryption::RsaesOaep(hash), &secret(material)).unwrap().ciphertext;
        self.wrapped(hash, ciphertext)
    }

    fn wrapped(&self, hash: OaepHash, ciphertext: Vec<u8>) -> Wrapped {
        Wrapped { pair: self.material.duplicate(), hash, ciphertext }
    }
}

fn bytes(spec: KeySpec) -> usize {
    match spec.family() {
        Family::Aes { key_bytes } => key_bytes,
        Family::Hmac(_) | Family::Rsa { .. } | Family::Ec(_) => panic!("{spec} is no AES key"),
    }
}

pub async fn unwrapped_keys_are_what_was_wrapped(bench: &Bench) {
    let Some(unwrapper) = bench.tier.unwrapper() else { return };
    let pair = Pair::new(unwrapper).await;
    for (spec, hash) in SPECS.into_iter().flat_map(|spec| HASHES.map(|hash| (spec, hash))) {
        if !bench.can(spec, Ability::Unwrap(hash)) {
            let refused = unwrapper.unwrap(new_key(spec, KeyUsage::EncryptDecrypt), pair.wrap(hash, &text(bytes(spec)))).await;
            assert_refused(refused, Kind::UnsupportedOperation);
            continue;
        }
        let material = text(bytes(spec));
        let new = new_key(spec, KeyUsage::EncryptDecrypt);
        let id = new.id.clone();
        let created = unwrapper.unwrap(new, pair.wrap(hash, &material)).await.unwrap();
        let token = created.attributes.unwrap();
        assert_eq!((token.arrival, token.sensitive, token.extractable, token.local), (Arrival::Unwrapped, true, false, false));
        assert_eq!(created.material.id(), id);
        let stored =
            StoredKey { spec, usage: KeyUsage::EncryptDecrypt, material: created.material, public_key: None, witness: None };
        let unwrapped = bench.tier.open(stored).await.unwrap();
        // The same material by the other way is the same key.
        let brought = bench.open(&bench.import(spec, KeyUsage::EncryptDecrypt, &material).await.unwrap()).await;
        for algorithm in spec.encryption_algorithms().iter().filter(|algorithm| bench.can(spec, Ability::Encrypt(**algorithm))) {
            let encrypted = encrypt(&*unwrapped, encryption(*algorithm), b"text").await.unwrap();
            let decrypted = decrypt(&*brought, decryption(*algorithm, encrypted.iv), &encrypted.ciphertext).await.unwrap();
            assert_eq!(decrypted.expose(), b"text");
            round_trip(&*unwrapped, *algorithm, b"text").await;
        }
    }
}

pub async fn what_cannot_be_unwrapped_leaves_nothing(bench: &Bench) {
    let Some(unwrapper) = bench.tier.unwrapper() else { return };
    let (pair, other) = (Pair::new(unwrapper).await, Pair::new(unwrapper).await);
    let spec = KeySpec::Aes256;
    let residents = bench.tier.residents().await.unwrap();
    for hash in HASHES.into_iter().filter(|hash| bench.can(spec, Ability::Unwrap(*hash))) {
        let unwrap = |wrapped| unwrapper.unwrap(new_key(spec, KeyUsage::EncryptDecrypt), wrapped);
        let flipped = |place: usize| {
            let mut wrapped = pair.wrap(hash, &text(32));
            wrapped.ciphertext[place] ^= 1;
            wrapped
        };
        for place in [0, 1, UNWRAPPING_BYTES / 2, UNWRAPPING_BYTES - 1] {
            assert_mute(unwrap(flipped(place)).await);
        }
        assert_mute(unwrap(pair.wrapped(hash, other.wrap(hash, &text(32)).ciphertext)).await);
        for length in [0, 1, UNWRAPPING_BYTES - 1, UNWRAPPING_BYTES + 1, 10_000] {
            assert_mute(unwrap(pair.wrapped(hash, vec![1; length])).await);
        }
        assert_mute(unwrap(pair.wrapped(hash, vec![0xff; UNWRAPPING_BYTES])).await);
        for length in [1, 16, 24, 31, 33] {
            assert_refused(unwrap(pair.wrap(hash, &text(length))).await, Kind::InvalidParameter);
        }
        assert_eq!(bench.tier.residents().await.unwrap(), residents);
        bench.tier.health().await.unwrap();
    }
}

/// Whoever may import decrypts nothing with it, and what it is for it does until it is destroyed.
pub async fn a_pair_that_unwraps_does_nothing_else(bench: &Bench) {
    let Some(unwrapper) = bench.tier.unwrapper() else { return };
    let pair = Pair::new(unwrapper).await;
    for hash in HASHES {
        let wrapped = pair.wrap(hash, &text(32));
        let (spec, usage) = (UNWRAPPING_SPEC, KeyUsage::EncryptDecrypt);
        let stored = StoredKey {
            spec,
            usage,
            material: pair.material.duplicate(),
            public_key: Some(pair.public_key.clone()),
            witness: None,
        };
        let opened = bench.tier.open(stored).await.unwrap();
        let decrypted = opened.cipher().unwrap().decrypt(Share::default(), Decryption::RsaesOaep(hash), wrapped.ciphertext).await;
        assert!(decrypted.is_err(), "{hash:?}: decrypted");
    }
    bench.tier.destroy(pair.material.duplicate()).await.unwrap();
    let spec = KeySpec::Aes256;
    for hash in HASHES.into_iter().filter(|hash| bench.can(spec, Ability::Unwrap(*hash))) {
        let gone = unwrapper.unwrap(new_key(spec, KeyUsage::EncryptDecrypt), pair.wrap(hash, &text(32))).await;
        assert_refused(gone, Kind::KeyNotFound);
    }
}
