//! Data keys that go to somebody else: encrypted to the public key of a third party, for operators.

use super::Kms;
use super::data_keys::data_key_length;
use super::operator_crypto::{check_symmetric, oaep};
use super::requests::{ExportTo, Exported, Operator, OperatorDecrypted, OperatorEncrypted};
use crate::base::{Result, SecretBytes};
use crate::model::ciphertext::Binding;
use crate::tier::Encryption;

impl Kms {
    /// ExportDataKey: what the blob of a data key decrypts to, as `decoded` reads it, encrypted to a public key.
    ///
    /// # Errors
    /// Those of [`Kms::operator_decrypt`]; [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) when the data key is longer
    /// than the public key takes.
    pub async fn export_data_key(
        &self,
        operator: &Operator,
        (binding, ciphertext): (Binding, &[u8]),
        to: &ExportTo,
        decoded: impl Fn(&SecretBytes) -> SecretBytes,
    ) -> Result<Exported> {
        let OperatorDecrypted { key, version, plaintext } = self.operator_decrypt(operator, binding, ciphertext).await?;
        Ok(Exported { key, version, data_key: to.encrypt(&decoded(&plaintext))? })
    }

    /// GenerateAndExportDataKey: the data key encrypted to a public key, and its blob, which decrypts to the text that `encoded` makes.
    ///
    /// # Errors
    /// As [`Kms::operator_data_key`] and [`Kms::export_data_key`].
    pub async fn generate_and_export_data_key(
        &self,
        operator: &Operator,
        key: &str,
        (length, aad): (Option<i32>, Vec<u8>),
        to: &ExportTo,
        encoded: impl Fn(&SecretBytes) -> SecretBytes,
    ) -> Result<(Exported, Vec<u8>)> {
        let used = self.usable_by(operator, key)?;
        check_symmetric(&used)?;
        let tier = &self.served(&used.entry.key.instance)?.tier;
        let data_key = tier.random(used.share, data_key_length(length)?).await?;
        let exported = to.encrypt(&data_key)?;
        let OperatorEncrypted { key, version, ciphertext } = self.encrypt_blob(&used, aad, encoded(&data_key)).await?;
        Ok((Exported { key, version, data_key: exported }, ciphertext))
    }
}

impl ExportTo {
    fn encrypt(&self, data_key: &SecretBytes) -> Result<Vec<u8>> {
        Ok(self.public_key.encrypt(Encryption::RsaesOaep(oaep(self.algorithm)?), data_key)?.ciphertext)
    }
}
