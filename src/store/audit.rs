//! Where the audit logs ended, as far as the store was told. No snapshot shows it, so it does not raise the change counter.

use sqlx::Row;

use super::{Store, corrupt, failed};
use crate::base::Result;

/// The number of a record, and the SHA-256 of its line.
pub type AuditPosition = (u64, [u8; 32]);

impl Store {
    /// The last record of a log that was told.
    ///
    /// # Errors
    /// The database fails.
    pub async fn audit_position(&self, log: &str) -> Result<Option<AuditPosition>> {
        let row = sqlx::query("SELECT sequence, hash FROM audit_positions WHERE log = $1").bind(log);
        let Some(row) = row.fetch_optional(&self.pool).await.map_err(failed)? else { return Ok(None) };
        let sequence: i64 = row.try_get("sequence").map_err(failed)?;
        let hash: Vec<u8> = row.try_get("hash").map_err(failed)?;
        let hash = hash.try_into().map_err(|_| corrupt("the hash of an audit record"))?;
        Ok(Some((sequence.cast_unsigned(), hash)))
    }

    /// Tells the last record of a log; an earlier one than is known changes nothing.
    ///
    /// # Errors
    /// The database fails.
    pub async fn remember_audit_position(&self, log: &str, (sequence, hash): AuditPosition) -> Result<()> {
        sqlx::query(
            "INSERT INTO audit_positions (log, sequence, hash) VALUES ($1, $2, $3) ON CONFLICT (log) DO UPDATE \
             SET sequence = excluded.sequence, hash = excluded.hash WHERE audit_positions.sequence < excluded.sequence",
        )
        .bind(log)
        .bind(sequence.cast_signed())
        .bind(hash.as_slice())
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        Ok(())
    }
}
