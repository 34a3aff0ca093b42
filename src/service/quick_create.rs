//! Quick creation of an access point: everything of one instance, from any address, for five years.
//!
//! It needs the store and no running service; a service that runs on the same store sees it by the change counter.

use super::access::FIVE_YEARS;
use super::{Kms, authorities, certificates};
use crate::base::{Error, Result, SecretBytes, Timestamp, random};
use crate::model::access::{AccessPoint, AuthenticationMethod, ClientKey, Permission, Policy, ResourcePattern, Scope};
use crate::model::{ClientKeyId, InstanceId, Name};
use crate::store::Store;

/// What is handed to the one who runs the client.
pub struct QuickCreated {
    /// What the service keeps.
    pub client_key: ClientKey,
    /// PKCS #12.
    pub private_key: SecretBytes,
    /// Its password.
    pub password: SecretBytes,
    /// What the client must trust.
    pub ca_chain_pem: String,
}

impl Kms {
    /// Makes policy, access point and client key in one go, all by the name of the access point.
    ///
    /// # Errors
    /// [`Kind::ResourceExists`](crate::base::Kind::ResourceExists) when the name is taken; the store fails.
    pub async fn quick_create(store: &Store, instance: &InstanceId, name: &Name, now: Timestamp) -> Result<QuickCreated> {
        let authorities = authorities(store).await?;
        let everything = |pattern: &str| pattern.parse::<ResourcePattern>();
        let policy = Policy {
            name: name.clone(),
            scope: Scope::Instance(instance.clone()),
            permissions: vec![Permission::CryptoServiceKeyUser, Permission::CryptoServiceSecretUser],
            resources: [everything("key/*")?, everything("secret/*")?].into_iter().collect(),
            rules: Vec::new(),
            rules_text: String::new(),
            description: "Made by quick creation.".to_owned(),
        };
        let access_point = AccessPoint {
            name: name.clone(),
            method: AuthenticationMethod::ClientKey,
            policies: vec![name.clone()],
            description: "Made by quick creation.".to_owned(),
        };
        let id = ClientKeyId::from_entropy(random::bytes());
        let not_after = Timestamp::from_unix(now.unix() + FIVE_YEARS);
        let password = certificates::generate_password();
        let (made, password) = {
            let id = id.clone();
            let make = move || certificates::new_client_key(&id, &password, now, not_after).map(|made| (made, password));
            tokio::task::spawn_blocking(make).await.map_err(Error::internal)??
        };
        let client_key =
            ClientKey { id, access_point: name.clone(), certificate: made.certificate, not_before: now, not_after, created: now };
        store.quick_create(&policy, &access_point, &client_key).await?;
        Ok(QuickCreated { client_key, private_key: made.pkcs12, password, ca_chain_pem: certificates::ca_chain_pem(&authorities) })
    }
}
