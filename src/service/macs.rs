//! Message authentication codes, for operators.

use super::Kms;
use super::crypto::wrong_usage;
use super::requests::{MacOf, MacVerified, Operator};
use crate::base::{Error, Result, SecretBytes};
use crate::model::algorithm::MacAlgorithm;
use crate::tier::public_key::Validity;

impl Kms {
    /// GenerateMac.
    ///
    /// # Errors
    /// [`Kind::UnsupportedOperation`](crate::base::Kind::UnsupportedOperation) when key and algorithm do not fit,
    /// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) for more than
    /// [`MAC_MESSAGE_LIMIT`](crate::tier::MAC_MESSAGE_LIMIT) bytes, the key's state, those of the tier.
    pub async fn generate_mac(
        &self,
        operator: &Operator,
        key: &str,
        algorithm: MacAlgorithm,
        message: SecretBytes,
    ) -> Result<MacOf> {
        let used = self.usable_by(operator, key)?;
        let handle = self.handle(&used).await?;
        let code = handle.mac().ok_or_else(|| wrong_usage(&used))?.mac(used.share, algorithm, message).await?;
        Ok(MacOf { key: used.entry.key.id.clone(), code })
    }

    /// VerifyMac: generates the code again and compares, in a time that does not depend on what differs. A code that is wrong is no
    /// error, one of another length is.
    ///
    /// # Errors
    /// As [`Kms::generate_mac`].
    pub async fn verify_mac(
        &self,
        operator: &Operator,
        key: &str,
        algorithm: MacAlgorithm,
        (message, code): (SecretBytes, &[u8]),
    ) -> Result<MacVerified> {
        if code.len() != algorithm.bytes() {
            return Err(Error::invalid(format!("A code of {algorithm} has {} bytes.", algorithm.bytes())));
        }
        let MacOf { key, code: right } = self.generate_mac(operator, key, algorithm, message).await?;
        let validity = if right.constant_time_eq(code) { Validity::Valid } else { Validity::Invalid };
        Ok(MacVerified { key, validity })
    }
}
