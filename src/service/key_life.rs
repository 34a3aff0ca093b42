//! What becomes of keys after they were made: enabled, disabled, described, protected, deleted. What a state allows is the model's.

use super::Kms;
use super::aliases::{key_id, resource_of};
use super::keys::check_description;
use super::requests::Operator;
use super::snapshot::Changed;
use crate::base::{Error, Result, Timestamp};
use crate::model::KeyId;
use crate::model::alert::Alert;
use crate::model::key::{DeletionProtection, Key};

/// How many days a key waits for its deletion (the API's limits).
pub const DELETION_WINDOW_DAYS: std::ops::RangeInclusive<u32> = 7..=366;
/// Seconds of a day.
const DAY: i64 = 86_400;

impl Kms {
    /// EnableKey.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`](crate::base::Kind::KeyNotFound), [`Kind::StateForbids`](crate::base::Kind::StateForbids).
    pub async fn enable_key(&self, operator: &Operator, key: &str) -> Result<()> {
        self.change(operator, "enabled", &key_id(key)?, Key::enable).await
    }

    /// DisableKey: nothing is done with it until it is enabled.
    ///
    /// # Errors
    /// As [`Kms::enable_key`].
    pub async fn disable_key(&self, operator: &Operator, key: &str) -> Result<()> {
        self.change(operator, "disabled", &key_id(key)?, Key::disable).await
    }

    /// ScheduleKeyDeletion: after so many days, [`DELETION_WINDOW_DAYS`], the key is destroyed. They are counted from the latest date that was seen:
    /// a clock that is behind does not shorten them.
    ///
    /// # Errors
    /// As [`Kms::enable_key`]; [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) for the days, [`Kind::UnsupportedOperation`](crate::base::Kind::UnsupportedOperation) when it is protected.
    pub async fn schedule_key_deletion(&self, operator: &Operator, key: &str, days: u32) -> Result<()> {
        if !DELETION_WINDOW_DAYS.contains(&days) {
            let (least, most) = (DELETION_WINDOW_DAYS.start(), DELETION_WINDOW_DAYS.end());
            return Err(Error::invalid(format!("The parameter PendingWindowInDays is between {least} and {most}.")));
        }
        let at = Timestamp::from_unix(self.clock.latest().unix() + i64::from(days) * DAY);
        let now = self.now();
        let schedule = |key: &mut Key| {
            key.schedule_deletion(at)?;
            Ok(Alert::key_deletion_scheduled(key, now))
        };
        self.change_and_raise(operator, "scheduled for deletion", &key_id(key)?, schedule).await
    }

    /// CancelKeyDeletion: it is enabled again. That is possible until its destruction begins, which only a clock that can be relied on brings
    /// about.
    ///
    /// # Errors
    /// As [`Kms::enable_key`].
    pub async fn cancel_key_deletion(&self, operator: &Operator, key: &str) -> Result<()> {
        let now = self.now();
        self.change(operator, "saved from deletion", &key_id(key)?, |key| key.cancel_deletion(now)).await
    }

    /// SetDeletionProtection, of a key by its id or ARN.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`](crate::base::Kind::KeyNotFound), [`Kind::KeyPendingDeletion`](crate::base::Kind::KeyPendingDeletion), [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter).
    pub async fn set_deletion_protection(&self, operator: &Operator, key: &str, protection: DeletionProtection) -> Result<()> {
        if let DeletionProtection::Enabled(why) = &protection {
            check_description("DeletionProtectionDescription", why)?;
        }
        self.change(operator, "given its protection", &key_id(resource_of(key))?, |key| key.protect(protection.clone())).await
    }

    /// UpdateKeyDescription.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`](crate::base::Kind::KeyNotFound), [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter).
    pub async fn update_key_description(&self, operator: &Operator, key: &str, description: &str) -> Result<()> {
        check_description("Description", description)?;
        let describe = |key: &mut Key| {
            description.clone_into(&mut key.description);
            Ok(())
        };
        self.change(operator, "described anew", &key_id(key)?, describe).await
    }

    /// What was changed holds here when this returns.
    pub(super) async fn change(
        &self,
        operator: &Operator,
        what: &'static str,
        id: &KeyId,
        change: impl Fn(&mut Key) -> Result<()> + Send + Sync,
    ) -> Result<()> {
        self.change_and_raise(operator, what, id, |key| change(key).map(|()| None)).await
    }

    async fn change_and_raise(
        &self,
        operator: &Operator,
        what: &'static str,
        id: &KeyId,
        change: impl Fn(&mut Key) -> Result<Option<Alert>> + Send + Sync,
    ) -> Result<()> {
        let now = self.now();
        let settled = |key: &mut Key| {
            key.settle(now);
            change(key)
        };
        let (key, raised) = self.store.change_key_and_raise(id, self.alerts.sending(), settled).await?;
        if let Some((alert, raised)) = raised {
            self.alerts.told(&alert, raised);
        }
        self.follow(Changed::Key(id)).await;
        tracing::info!(key = %id, what, state = key.state.name(), by = %operator.access_key, "a key was changed");
        Ok(())
    }
}
