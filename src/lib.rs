//! Keystead: a Key Management Service whose keys live in an HSM.
//!
//! As a program it serves clients that were written for Alibaba Cloud KMS; the README tells how to run it. As a library it is a
//! hardware tier for a server of your own: with `default-features = false, features = ["pkcs11"]` it has no HTTP and no SQL, and
//! maps key operations onto PKCS #11 sessions pooled for a slot.
//!
//! # The hardware tier in a server of your own
//!
//! [`Pkcs11Tier`](tier::pkcs11::Pkcs11Tier) connects to one token. Keep what [`create`](tier::Tier::create) returns in your store; give
//! it back to [`open`](tier::Tier::open) for a handle, which is cheap to share and may be used by any number of tasks at once. A
//! handle offers what its key can do: [`cipher`](tier::KeyHandle::cipher), [`signer`](tier::KeyHandle::signer) and
//! [`public_key`](tier::KeyHandle::public_key) are `Option`s. Every call ends by its deadline and may be dropped at any moment.
//! What a token lacks is in its [`Capabilities`](tier::Capabilities) and is refused when a key is made.
//!
//! ```
//! # #[allow(dead_code)]
//! # mod softhsm { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/softhsm.rs")); }
//! # let label = softhsm::token();
//! # let (module, uri, pin) = (softhsm::module(), softhsm::uri(&label), softhsm::PIN.to_owned());
//! use keystead::base::{Pin, SecretBytes};
//! use keystead::model::algorithm::{KeySpec, KeyUsage, SignatureAlgorithm};
//! use keystead::tier::pkcs11::{Pkcs11Tier, Reserve, Settings};
//! use keystead::tier::public_key::{Validity, sha256};
//! use keystead::tier::{Decryption, Encryption, Iv, NewKey, Share, StoredKey, Tier};
//!
//! // Two workers more than there are cores: fast calls run on them, the spare ones keep the deadlines when calls hang, and are kept
//! // back until then: before anything else runs there. To be dropped before the runtime.
//! let cores = std::thread::available_parallelism()?.get();
//! let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(cores + 2).enable_all().build()?;
//! let reserve = Reserve::of(runtime.handle());
//! runtime.block_on(async {
//!     // module: "/usr/lib/softhsm/libsofthsm2.so", uri: "pkcs11:token=payments", pin: from a file
//!     let settings = Settings { relief: Some(reserve.relief()), ..Settings::new(module, uri.parse()?, Pin::new(pin)) };
//!     let tier = Pkcs11Tier::connect(settings).await?;
//!
//!     // An AES key. Its id becomes CKA_ID: choose it first and note it, then a crash loses nothing.
//!     let (spec, usage) = (KeySpec::Aes256, KeyUsage::EncryptDecrypt);
//!     let id = b"key-hzz62f1cb66fa42qo0001-0000000001".to_vec();
//!     let created = tier.create(NewKey { id, label: "payments".to_owned(), spec, usage }).await?;
//!     let attributes = created.attributes.expect("a token tells");
//!     assert!(attributes.local && attributes.always_sensitive && attributes.never_extractable);
//!
//!     let key = tier.open(StoredKey { spec, usage, material: created.material, public_key: None, witness: None }).await?;
//!     let cipher = key.cipher().expect("an AES key encrypts");
//!     let aad = b"invoice 17".to_vec();
//!     // Whose call it is: a busy token serves all shares alike, however much one of them sends.
//!     let share = Share::of(b"the billing service");
//!     let plaintext = SecretBytes::new(b"42 EUR".to_vec());
//!     let sealed = cipher.encrypt(share, Encryption::AesGcm { aad: aad.clone() }, plaintext).await?;
//!     let Iv::Gcm(iv) = sealed.iv else { unreachable!("GCM has an IV") };
//!     let opened = cipher.decrypt(share, Decryption::AesGcm { iv, aad }, sealed.ciphertext).await?;
//!     assert_eq!(opened.expose(), b"42 EUR");
//!
//!     // A signing pair. Verification needs the public half alone and does not bother the token.
//!     let (spec, usage) = (KeySpec::EcP256, KeyUsage::SignVerify);
//!     let id = b"key-hzz62f1cb66fa42qo0002-0000000001".to_vec();
//!     let created = tier.create(NewKey { id, label: "signer".to_owned(), spec, usage }).await?;
//!     let key = tier.open(StoredKey { spec, usage, material: created.material, public_key: created.public_key, witness: None }).await?;
//!     let digest = sha256(b"a message");
//!     let algorithm = SignatureAlgorithm::EcdsaSha256;
//!     let signature = key.signer().expect("it signs").sign(share, algorithm, digest).await?;
//!     let public_key = key.public_key().expect("it is a pair");
//!     assert_eq!(public_key.verify(algorithm, &digest, &signature)?, Validity::Valid);
//!
//!     // In order: running calls are waited for, sessions closed, logged out, the module finalised.
//!     tier.close().await?;
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # The house
//!
//! Floor by floor; a folder imports only from lower floors:
//!
//! ```text
//! 5  main  app  config      assembly: the only place that names concrete tiers and the store
//! 4  server ── wire         HTTP and TLS, who is calling, how answers look │ byte and JSON shapes, no logic
//! 3  service                use cases: the only place where a tier and the store meet
//! 2  tier   store   audit   webhook   mechanisms, strangers to each other
//! 1  model                  data and rules, pure
//! 0  base   measure         errors, secrets, the clock │ one thing against another
//! ```

#![cfg_attr(not(test), warn(clippy::unwrap_used))]
// The macros panic when the reader has gone away or the disk is full: app/output.rs prints, base/log_lines.rs logs.
#![warn(clippy::print_stdout, clippy::print_stderr)]
// Without a tier there is little to link to, and nothing uses what the tiers share.
#![cfg_attr(not(feature = "pkcs11"), allow(rustdoc::broken_intra_doc_links))]
#![cfg_attr(not(any(feature = "pkcs11", feature = "software")), allow(dead_code))]

pub mod base;
#[cfg(feature = "bench")]
pub mod measure;
pub mod model;
pub mod tier;

#[cfg(feature = "server")]
pub mod app;
#[cfg(feature = "server")]
pub mod audit;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod service;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "server")]
pub mod webhook;
#[cfg(feature = "server")]
pub mod wire;
