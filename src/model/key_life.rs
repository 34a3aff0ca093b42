//! The life of a key: which state follows which, and what a state forbids (keys.md of the API: "States").

use super::key::{DeletionOrder, DeletionProtection, Key, KeyState};
use crate::base::{Error, Kind, Result, Timestamp};

impl Key {
    /// EnableKey.
    ///
    /// # Errors
    /// [`Kind::StateForbids`] while it waits for its deletion or its material.
    pub fn enable(&mut self) -> Result<()> {
        self.switch(KeyState::Enabled)
    }

    /// DisableKey.
    ///
    /// # Errors
    /// As [`Key::enable`].
    pub fn disable(&mut self) -> Result<()> {
        self.switch(KeyState::Disabled)
    }

    fn switch(&mut self, to: KeyState) -> Result<()> {
        match self.state {
            KeyState::Enabled | KeyState::Disabled => {
                self.state = to;
                Ok(())
            }
            KeyState::PendingDeletion | KeyState::PendingImport => Err(self.state_forbids()),
        }
    }

    /// ScheduleKeyDeletion: to be destroyed at `at`. A key that waits for its deletion without an order is given one.
    ///
    /// # Errors
    /// [`Kind::StateForbids`] when its deletion was ordered already, [`Kind::UnsupportedOperation`] when it is protected against it.
    pub fn schedule_deletion(&mut self, at: Timestamp) -> Result<()> {
        match (self.state, &self.deletion_protection) {
            (KeyState::PendingDeletion, _) if self.ordered.deletion.is_some() => Err(self.state_forbids()),
            (_, DeletionProtection::Enabled(_)) => {
                let text = format!("The key {} is protected against deletion; SetDeletionProtection ends that.", self.id);
                Err(Error::unsupported(text))
            }
            (_, DeletionProtection::Disabled) => {
                (self.state, self.delete_at) = (KeyState::PendingDeletion, Some(at));
                self.ordered.deletion = Some(DeletionOrder::Scheduled(at));
                Ok(())
            }
        }
    }

    /// CancelKeyDeletion: it is enabled, whatever it was before; without its material it waits for that.
    ///
    /// # Errors
    /// [`Kind::StateForbids`] when it does not wait for its deletion, or its destruction was begun. Its date alone does not forbid it: `now` may
    /// be wrong.
    pub fn cancel_deletion(&mut self, now: Timestamp) -> Result<()> {
        match (self.state, self.ordered.deletion) {
            (KeyState::PendingDeletion, None | Some(DeletionOrder::Scheduled(_))) => {
                let state = if self.has_material(now) { KeyState::Enabled } else { KeyState::PendingImport };
                (self.state, self.delete_at) = (state, None);
                self.ordered.deletion = None;
                Ok(())
            }
            // It may be destroyed in this moment.
            (KeyState::PendingDeletion, Some(DeletionOrder::Begun(_)))
            | (KeyState::Enabled | KeyState::Disabled | KeyState::PendingImport, _) => Err(self.state_forbids()),
        }
    }

    /// Its window has ended: from now on it waits for its deletion without a date, and is not saved any more.
    ///
    /// # Errors
    /// [`Kind::StateForbids`] when it is not due.
    pub fn give_up(&mut self, now: Timestamp) -> Result<()> {
        match self.ordered.deletion {
            Some(order) if self.is_due(now) => {
                self.delete_at = None;
                self.ordered.deletion = Some(DeletionOrder::Begun(order.date()));
                Ok(())
            }
            Some(_) | None => Err(self.state_forbids()),
        }
    }

    /// SetDeletionProtection.
    ///
    /// # Errors
    /// [`Kind::KeyPendingDeletion`].
    pub fn protect(&mut self, protection: DeletionProtection) -> Result<()> {
        match self.state {
            KeyState::PendingDeletion => self.state.usable(self.id.as_str()),
            KeyState::Enabled | KeyState::Disabled | KeyState::PendingImport => {
                self.deletion_protection = protection;
                Ok(())
            }
        }
    }

    /// Whether an alias may be bound to it anew.
    ///
    /// # Errors
    /// [`Kind::StateForbids`] while it waits for its deletion.
    pub fn takes_alias(&self) -> Result<()> {
        match self.state {
            KeyState::PendingDeletion => Err(self.state_forbids()),
            KeyState::Enabled | KeyState::Disabled | KeyState::PendingImport => Ok(()),
        }
    }

    /// Whether it is to be destroyed: that was ordered, and the date of the order has come.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.state == KeyState::PendingDeletion && self.ordered.deletion.is_some_and(|order| order.date() <= now)
    }

    /// Whether it waits for a deletion that nobody ordered through the service: it waits for ever.
    pub fn lacks_deletion_order(&self) -> bool {
        self.state == KeyState::PendingDeletion && self.ordered.deletion.is_none()
    }

    pub(super) fn state_forbids(&self) -> Error {
        Error::new(Kind::StateForbids, format!("The key {} is {}; that forbids the operation.", self.id, self.state.name()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::algorithm::{KeySpec, KeyUsage};
    use crate::model::key::{DestructionOrders, Origin, Presence};
    use crate::model::{InstanceId, KeyId, KeyVersionId};

    const NOW: Timestamp = Timestamp::from_unix(1_000);
    const LATER: Timestamp = Timestamp::from_unix(2_000);

    pub(in crate::model) fn key(state: KeyState) -> Key {
        let id = KeyId::from_entropy([7; 21]);
        let version = KeyVersionId::from_entropy(&id, [7; 10]);
        Key {
            instance: InstanceId::from_entropy([7; 21]),
            spec: KeySpec::Aes256,
            usage: KeyUsage::EncryptDecrypt,
            origin: Origin::Service,
            state,
            presence: if state == KeyState::PendingImport { Presence::Absent } else { Presence::Present },
            delete_at: (state == KeyState::PendingDeletion).then_some(LATER),
            ordered: DestructionOrders {
                deletion: (state == KeyState::PendingDeletion).then_some(DeletionOrder::Scheduled(LATER)),
                expiry: None,
            },
            deletion_protection: DeletionProtection::Disabled,
            rotation_interval: None,
            description: String::new(),
            creator: String::new(),
            created: NOW,
            initial_version: version.clone(),
            policy: None,
            primary_version: version,
            id,
        }
    }

    /// The state afterwards, or what is said.
    type Cell = Result<KeyState, Kind>;
    /// An operation, and its cells for a key that is enabled, disabled, waits for its deletion, waits for its material.
    type Row = (&'static str, fn(&mut Key) -> Result<()>, [Cell; 4]);

    #[test]
    fn a_deletion_without_an_order_destroys_nothing_and_is_ordered_anew_or_cancelled() {
        let forever = Timestamp::from_unix(i64::MAX);
        for delete_at in [None, Some(LATER)] {
            let waiting = || Key { delete_at, ordered: DestructionOrders::default(), ..key(KeyState::PendingDeletion) };
            assert!(waiting().lacks_deletion_order() && !waiting().is_due(forever));
            assert_eq!(waiting().give_up(forever).unwrap_err().kind(), Kind::StateForbids);
            let mut saved = waiting();
            saved.cancel_deletion(forever).unwrap();
            assert_eq!((saved.state, saved.delete_at), (KeyState::Enabled, None));
            let mut ordered = waiting();
            ordered.schedule_deletion(LATER).unwrap();
            assert!(!ordered.lacks_deletion_order() && !ordered.is_due(NOW) && ordered.is_due(LATER));
            let protected = DeletionProtection::Enabled(String::new());
            let mut protected = Key { deletion_protection: protected, ..waiting() };
            assert_eq!(protected.schedule_deletion(LATER).unwrap_err().kind(), Kind::UnsupportedOperation);
        }
    }

    #[test]
    fn every_cell_of_the_table() {
        use KeyState::{Disabled, Enabled, PendingDeletion, PendingImport};
        let forbidden: Cell = Err(Kind::StateForbids);
        let states = [Enabled, Disabled, PendingDeletion, PendingImport];
        let operations: [Row; 7] = [
            ("EnableKey", Key::enable, [Ok(Enabled), Ok(Enabled), forbidden, forbidden]),
            ("DisableKey", Key::disable, [Ok(Disabled), Ok(Disabled), forbidden, forbidden]),
            (
                "ScheduleKeyDeletion",
                |key| key.schedule_deletion(LATER),
                [Ok(PendingDeletion), Ok(PendingDeletion), forbidden, Ok(PendingDeletion)],
            ),
            ("CancelKeyDeletion", |key| key.cancel_deletion(NOW), [forbidden, forbidden, Ok(Enabled), forbidden]),
            ("CreateAlias", |key| key.takes_alias(), [Ok(Enabled), Ok(Disabled), forbidden, Ok(PendingImport)]),
            (
                "SetDeletionProtection",
                |key| key.protect(DeletionProtection::Enabled(String::new())),
                [Ok(Enabled), Ok(Disabled), Err(Kind::KeyPendingDeletion), Ok(PendingImport)],
            ),
            (
                "Encrypt",
                |key| key.state.usable("it"),
                [Ok(Enabled), Err(Kind::KeyDisabled), Err(Kind::KeyPendingDeletion), Err(Kind::KeyPendingImport)],
            ),
        ];
        for (name, operation, cells) in operations {
            for (state, expected) in states.into_iter().zip(cells) {
                let mut key = key(state);
                let outcome = operation(&mut key).map(|()| key.state).map_err(|error| error.kind());
                assert_eq!(outcome, expected, "{name} of a key that is {}", state.name());
                if expected.is_err() {
                    assert_eq!(key.state, state, "{name} changed nothing");
                }
                assert_eq!(key.delete_at.is_some(), key.state == PendingDeletion, "{name}");
            }
        }
    }

    #[test]
    fn a_key_is_saved_until_its_destruction_begins() {
        let mut key = key(KeyState::PendingDeletion);
        assert!(!key.is_due(Timestamp::from_unix(1_999)) && key.is_due(LATER));
        let mut given_up = key.clone();
        assert_eq!(given_up.give_up(NOW).unwrap_err().kind(), Kind::StateForbids);
        given_up.give_up(LATER).unwrap();
        assert_eq!(given_up.cancel_deletion(NOW).unwrap_err().kind(), Kind::StateForbids, "whatever the clock says");
        assert_eq!(
            given_up.give_up(NOW).unwrap_err().kind(),
            Kind::StateForbids,
            "nothing is destroyed before the date of the order"
        );
        given_up.give_up(LATER).unwrap();
        key.cancel_deletion(LATER).unwrap();
        assert!(!key.is_due(LATER));
    }

    #[test]
    fn a_protected_key_is_not_scheduled() {
        let mut key = key(KeyState::Enabled);
        key.protect(DeletionProtection::Enabled("in use".to_owned())).unwrap();
        assert_eq!(key.schedule_deletion(LATER).unwrap_err().kind(), Kind::UnsupportedOperation);
        key.protect(DeletionProtection::Disabled).unwrap();
        key.schedule_deletion(LATER).unwrap();
    }
}
