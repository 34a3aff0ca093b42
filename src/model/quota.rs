//! How much an instance may hold.

use crate::base::{Error, Kind, Result};
use crate::model::InstanceId;

/// The most key versions of an instance: each counts, whatever its key's state, until it is destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyQuota(u32);

impl KeyQuota {
    /// At least 1.
    pub const fn new(most: u32) -> Option<Self> {
        if most == 0 { None } else { Some(Self(most)) }
    }

    /// How many.
    pub const fn most(self) -> u64 {
        self.0 as u64
    }

    /// Whether an instance that holds so many takes another one.
    ///
    /// # Errors
    /// [`Kind::LimitExceeded`].
    pub fn admits(self, instance: &InstanceId, used: u64) -> Result<()> {
        if used < self.most() {
            return Ok(());
        }
        let text = format!("The instance {instance} has {used} key versions, its quota is {}.", self.0);
        Err(Error::new(Kind::LimitExceeded, text))
    }

    /// Whether so many are this part of it or more.
    pub const fn is_used_by(self, percent: u64, used: u64) -> bool {
        used.saturating_mul(100) >= self.most() * percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_used_up_by_the_last_one_that_fits() {
        let (quota, instance) = (KeyQuota::new(3).unwrap(), InstanceId::from_entropy([1; 21]));
        assert!(quota.admits(&instance, 2).is_ok());
        for used in [3, 4] {
            assert_eq!(quota.admits(&instance, used).unwrap_err().kind(), Kind::LimitExceeded);
        }
        assert_eq!(KeyQuota::new(0), None);
        let quota = KeyQuota::new(10).unwrap();
        assert_eq!([6, 7, 8, 9, 10].map(|used| quota.is_used_by(70, used)), [false, true, true, true, true]);
        assert_eq!([8, 9, 11].map(|used| quota.is_used_by(90, used)), [false, true, true]);
    }
}
