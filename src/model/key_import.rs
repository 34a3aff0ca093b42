//! The material of imported keys, which comes and goes: what an import, its end and its date make of a key (keys.md of the API:
//! "States" and "Importing key material").

use super::key::{Key, KeyState, Origin, Presence};
use crate::base::{Error, Kind, Result, Timestamp};

impl Key {
    /// Whether its material is there and has not expired.
    pub fn has_material(&self, now: Timestamp) -> bool {
        match self.presence {
            Presence::Present => true,
            Presence::Until(end) => now < end,
            Presence::Absent => false,
        }
    }

    /// Whether its material has expired.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.presence != Presence::Absent && !self.has_material(now)
    }

    /// The state that holds: a key whose material has expired waits for it, whatever was written last.
    pub fn state_at(&self, now: Timestamp) -> KeyState {
        match self.state {
            KeyState::Enabled | KeyState::Disabled if !self.has_material(now) => KeyState::PendingImport,
            state @ (KeyState::Enabled | KeyState::Disabled | KeyState::PendingDeletion | KeyState::PendingImport) => state,
        }
    }

    /// Whether it may be used for cryptography.
    ///
    /// # Errors
    /// The kind of the state that holds.
    pub fn usable(&self, now: Timestamp) -> Result<()> {
        self.state_at(now).usable(self.id.as_str())
    }

    /// The answer to whoever would use it without its material.
    pub fn awaits_material(&self) -> Error {
        Error::new(Kind::KeyPendingImport, format!("The key {} is waiting for its key material.", self.id))
    }

    /// Writes down what holds: to be done before anything else is made of the state.
    pub fn settle(&mut self, now: Timestamp) {
        self.state = self.state_at(now);
    }

    /// Whether its material is imported at all.
    ///
    /// # Errors
    /// [`Kind::UnsupportedOrigin`].
    pub fn check_imported(&self) -> Result<()> {
        match self.origin {
            Origin::External => Ok(()),
            Origin::Service => {
                let text = format!("The material of the key {} was made by the service; its Origin is not EXTERNAL.", self.id);
                Err(Error::new(Kind::UnsupportedOrigin, text))
            }
        }
    }

    /// Whether material can be imported now.
    ///
    /// # Errors
    /// [`Kind::UnsupportedOrigin`]; [`Kind::StateForbids`] while it waits for its deletion.
    pub fn takes_material(&self) -> Result<()> {
        self.check_imported()?;
        match self.state {
            KeyState::Enabled | KeyState::Disabled | KeyState::PendingImport => Ok(()),
            KeyState::PendingDeletion => Err(self.state_forbids()),
        }
    }

    /// ImportKeyMaterial: it is enabled, and its material expires at `until` or never, whatever was said before.
    ///
    /// # Errors
    /// As [`Key::takes_material`].
    pub fn import_material(&mut self, until: Option<Timestamp>) -> Result<()> {
        self.takes_material()?;
        (self.state, self.presence) = (KeyState::Enabled, until.map_or(Presence::Present, Presence::Until));
        self.ordered.expiry = until;
        Ok(())
    }

    /// DeleteKeyMaterial: it waits for its material; if it waits for its deletion, it goes on to wait for that.
    ///
    /// # Errors
    /// [`Kind::UnsupportedOrigin`].
    pub fn delete_material(&mut self) -> Result<()> {
        self.check_imported()?;
        self.presence = Presence::Absent;
        self.ordered.expiry = None;
        self.state = match self.state {
            KeyState::Enabled | KeyState::Disabled | KeyState::PendingImport => KeyState::PendingImport,
            KeyState::PendingDeletion => KeyState::PendingDeletion,
        };
        Ok(())
    }

    /// Whether its material is to be erased: it has expired, and its date was ordered.
    pub fn material_is_due(&self, now: Timestamp) -> bool {
        self.is_expired(now) && self.ordered.expiry.is_some_and(|end| end <= now)
    }

    /// Whether its material has a date that nobody gave through the service: its use ends then, and it is not erased.
    pub fn lacks_expiry_order(&self) -> bool {
        matches!(self.presence, Presence::Until(_)) && self.ordered.expiry.is_none()
    }

    /// DeleteKeyMaterial for material that has expired.
    ///
    /// # Errors
    /// [`Kind::StateForbids`] when it is not to be erased: it may have been imported again meanwhile.
    pub fn expire_material(&mut self, now: Timestamp) -> Result<()> {
        if self.material_is_due(now) { self.delete_material() } else { Err(self.state_forbids()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::algorithm::{KeySpec, KeyUsage};
    use crate::model::key::{DeletionOrder, DeletionProtection, DestructionOrders};
    use crate::model::{InstanceId, KeyId, KeyVersionId};

    const NOW: Timestamp = Timestamp::from_unix(1_000);
    const LATER: Timestamp = Timestamp::from_unix(2_000);

    fn key(state: KeyState, presence: Presence) -> Key {
        let id = KeyId::from_entropy([7; 21]);
        let version = KeyVersionId::from_entropy(&id, [7; 10]);
        Key {
            instance: InstanceId::from_entropy([7; 21]),
            spec: KeySpec::Aes256,
            usage: KeyUsage::EncryptDecrypt,
            origin: Origin::External,
            state,
            presence,
            delete_at: (state == KeyState::PendingDeletion).then_some(LATER),
            ordered: DestructionOrders {
                deletion: (state == KeyState::PendingDeletion).then_some(DeletionOrder::Scheduled(LATER)),
                expiry: match presence {
                    Presence::Until(end) => Some(end),
                    Presence::Present | Presence::Absent => None,
                },
            },
            deletion_protection: DeletionProtection::Disabled,
            rotation_interval: None,
            policy: None,
            description: String::new(),
            creator: String::new(),
            created: NOW,
            initial_version: version.clone(),
            primary_version: version,
            id,
        }
    }

    /// The state afterwards, or what is said.
    type Cell = Result<KeyState, Kind>;
    /// An operation, and its cells for a key that is enabled, disabled, waits for its deletion, waits for its material.
    type Row = (&'static str, fn(&mut Key) -> Result<()>, [Cell; 4]);

    #[test]
    fn every_cell_of_the_table() {
        use KeyState::{Disabled, Enabled, PendingDeletion, PendingImport};
        let states = [
            (Enabled, Presence::Present),
            (Disabled, Presence::Present),
            (PendingDeletion, Presence::Present),
            (PendingImport, Presence::Absent),
        ];
        let operations: [Row; 3] = [
            (
                "GetParametersForImport",
                |key| key.check_imported(),
                [Ok(Enabled), Ok(Disabled), Ok(PendingDeletion), Ok(PendingImport)],
            ),
            (
                "ImportKeyMaterial",
                |key| key.import_material(None),
                [Ok(Enabled), Ok(Enabled), Err(Kind::StateForbids), Ok(Enabled)],
            ),
            (
                "DeleteKeyMaterial",
                Key::delete_material,
                [Ok(PendingImport), Ok(PendingImport), Ok(PendingDeletion), Ok(PendingImport)],
            ),
        ];
        for (name, operation, cells) in operations {
            for ((state, presence), expected) in states.into_iter().zip(cells) {
                let mut key = key(state, presence);
                let outcome = operation(&mut key).map(|()| key.state).map_err(|error| error.kind());
                assert_eq!(outcome, expected, "{name} of a key that is {}", state.name());
                assert_eq!(key.delete_at.is_some(), key.state == PendingDeletion, "{name}");
                let mut made_here = Key { origin: Origin::Service, ..key };
                assert_eq!(operation(&mut made_here).unwrap_err().kind(), Kind::UnsupportedOrigin, "{name}");
            }
        }
    }

    #[test]
    fn a_date_without_an_order_ends_the_use_of_material_and_erases_nothing() {
        let mut key = Key { ordered: DestructionOrders::default(), ..key(KeyState::Enabled, Presence::Until(LATER)) };
        assert!(key.lacks_expiry_order() && key.is_expired(LATER) && !key.material_is_due(LATER));
        assert_eq!(key.usable(LATER).unwrap_err().kind(), Kind::KeyPendingImport);
        assert_eq!(key.expire_material(LATER).unwrap_err().kind(), Kind::StateForbids);
        key.import_material(Some(LATER)).unwrap();
        assert!(!key.lacks_expiry_order() && !key.material_is_due(NOW) && key.material_is_due(LATER));
        key.expire_material(LATER).unwrap();
    }

    #[test]
    fn expired_material_is_as_good_as_absent() {
        for state in [KeyState::Enabled, KeyState::Disabled] {
            let mut key = key(state, Presence::Until(LATER));
            assert_eq!((key.state_at(NOW), key.is_expired(NOW)), (state, false));
            assert_eq!(key.expire_material(NOW).unwrap_err().kind(), Kind::StateForbids);
            assert_eq!((key.state_at(LATER), key.is_expired(LATER)), (KeyState::PendingImport, true));
            assert_eq!(key.usable(LATER).unwrap_err().kind(), Kind::KeyPendingImport);
            key.settle(LATER);
            assert_eq!(key.enable().unwrap_err().kind(), Kind::StateForbids);
            key.expire_material(LATER).unwrap();
            assert_eq!((key.state, key.presence), (KeyState::PendingImport, Presence::Absent));
            key.import_material(None).unwrap();
            assert_eq!((key.state, key.is_expired(Timestamp::from_unix(i64::MAX))), (KeyState::Enabled, false));
        }
    }

    #[test]
    fn a_key_that_is_saved_without_its_material_waits_for_that() {
        for (presence, saved) in [
            (Presence::Present, KeyState::Enabled),
            (Presence::Until(LATER), KeyState::Enabled),
            (Presence::Until(NOW), KeyState::PendingImport),
            (Presence::Absent, KeyState::PendingImport),
        ] {
            let mut key = key(KeyState::PendingDeletion, presence);
            assert_eq!(key.state_at(NOW), KeyState::PendingDeletion);
            key.cancel_deletion(NOW).unwrap();
            assert_eq!(key.state, saved);
        }
    }
}
