//! Opening the material of a key version: the object that a token has under its id must be the key that was made.

use std::sync::Arc;

use crate::base::{Kind, Result};
use crate::model::KeyVersionId;
use crate::store::{Fingerprint, Store};
use crate::tier::{CheckValue, KeyHandle, StoredKey, Tier, Witness};

/// Knows a key by the fingerprint that the store keeps of it.
struct Kept {
    store: Store,
    fingerprint: Fingerprint,
}

impl Witness for Kept {
    fn knows(&self, value: &CheckValue) -> bool {
        self.store.key_fingerprint(value.secret()) == self.fingerprint
    }
}

/// Opens a version that has this fingerprint. One that was made when none were kept gets it now.
pub(super) async fn open(
    store: &Store,
    tier: &dyn Tier,
    version: &KeyVersionId,
    stored: StoredKey,
    fingerprint: Option<Fingerprint>,
) -> Result<Arc<dyn KeyHandle>> {
    let witness = fingerprint.map(|fingerprint| Arc::new(Kept { store: store.clone(), fingerprint }) as Arc<dyn Witness>);
    let handle = tier.open(StoredKey { witness, ..stored }).await?;
    if fingerprint.is_none()
        && let Some(value) = handle.check_value()
    {
        adopt(store, version, value).await?;
    }
    Ok(handle)
}

async fn adopt(store: &Store, version: &KeyVersionId, value: &CheckValue) -> Result<()> {
    match store.adopt_fingerprint(version, &store.key_fingerprint(value.secret())).await {
        Ok(()) => {
            tracing::info!(%version, "the key was made before fingerprints were kept; the one in the token now is taken for it");
            Ok(())
        }
        // The tier compares with what it saw now for as long as the process runs; the next one asks again.
        Err(error) if error.kind() == Kind::Unavailable => {
            tracing::warn!(%version, ?error, "the fingerprint of a key cannot be kept; the next start tries again");
            Ok(())
        }
        Err(error) => {
            tracing::error!(%version, ?error, "a key is not used until somebody has looked after the token");
            Err(error)
        }
    }
}
