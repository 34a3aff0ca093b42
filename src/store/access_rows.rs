//! All that decides about who may do what, as of one moment, with the names of the rows that are not what was written.

use super::access::{AccessTables, access_tables};
use super::aliases::aliases;
use super::oidc_providers::oidc_providers;
use super::operators::{AccessKey, identities};
use super::roles::roles;
use super::rows::UnusableRow;
use super::unclaimed::unclaimed_of_access;
use super::{Store, failed};
use crate::base::Result;
use crate::model::oidc::OidcProvider;
use crate::model::operator::{Identity, Role, UnclaimedPolicies};
use crate::model::{Alias, KeyId};

/// What a snapshot has of access. What cannot be used is not in it, and so grants nothing.
pub struct AccessRows {
    /// Access points and what they name.
    pub tables: AccessTables,
    /// Operators and roles.
    pub identities: Vec<Identity>,
    /// Policies of operators or roles that are not there.
    pub unclaimed_policies: UnclaimedPolicies,
    /// What roles have besides.
    pub roles: Vec<Role>,
    /// Who else may vouch for somebody.
    pub oidc_providers: Vec<OidcProvider>,
    /// The AccessKeys of operators.
    pub access_keys: Vec<AccessKey>,
    /// Names of keys.
    pub aliases: Vec<(Alias, KeyId)>,
    /// What cannot be used.
    pub unusable: Vec<UnusableRow>,
}

impl Store {
    /// Reads all of it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn access_rows(&self) -> Result<AccessRows> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let mut unusable = unclaimed_of_access(&mut transaction).await?;
        let (identities, unclaimed_policies) = identities(&mut transaction).await?;
        Ok(AccessRows {
            tables: access_tables(&mut transaction, &mut unusable).await?,
            identities: identities.split(&mut unusable),
            unclaimed_policies,
            roles: roles(&mut transaction).await?.split(&mut unusable),
            oidc_providers: oidc_providers(&mut transaction).await?.split(&mut unusable),
            access_keys: self.access_key_rows(&mut transaction).await?.split(&mut unusable),
            aliases: aliases(&mut transaction).await?.split(&mut unusable),
            unusable,
        })
    }
}
