//! The management of access: network rules, policies, access points, client keys. Changes hold at once on this node.

use std::collections::HashSet;

use super::requests::{
    CreateAccessPoint, CreateClientKey, CreateNetworkRule, CreatePolicy, CreatedClientKey, Operator, Page, Paged,
};
use super::{Kms, certificates};
use crate::base::{Error, Kind, Result, Timestamp, random};
use crate::model::access::{
    AccessPoint, ClientKey, LIST_LIMIT, NetworkRule, POLICIES_PER_ACCESS_POINT, Permission, Policy, Scope, parse_source,
};
use crate::model::{ClientKeyId, Name};

/// How long a client key lasts that nobody gave dates: five years of 365 days, in seconds.
pub(super) const FIVE_YEARS: i64 = 5 * 365 * 86_400;
/// The last second that a certificate's date and the API's form can tell: 9999-12-31T23:59:59Z.
const LAST_DATE: Timestamp = Timestamp::from_unix(253_402_300_799);

impl Kms {
    /// CreateNetworkRule.
    ///
    /// # Errors
    /// [`Kind::ResourceExists`]; [`Kind::InvalidParameter`] for what is no address, or too many of them.
    pub async fn create_network_rule(&self, _: &Operator, request: CreateNetworkRule) -> Result<NetworkRule> {
        check_length("SourcePrivateIp", request.sources.len())?;
        let sources = request.sources.iter().map(|text| parse_source(text)).collect::<Result<_>>()?;
        let rule = NetworkRule {
            name: request.name,
            kind: request.kind,
            sources,
            sources_text: request.sources,
            description: request.description,
        };
        self.store.create_network_rule(&rule).await?;
        self.refresh().await?;
        Ok(rule)
    }

    /// DescribeNetworkRule.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub fn describe_network_rule(&self, _: &Operator, name: &Name) -> Result<NetworkRule> {
        self.snapshot.access().network_rules.get(name).cloned().ok_or_else(|| gone("network rule", name))
    }

    /// ListNetworkRules, by name.
    pub fn list_network_rules(&self, _: &Operator, page: Page) -> Paged<NetworkRule> {
        let mut all: Vec<_> = self.snapshot.access().network_rules.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Paged::cut(all, page)
    }

    /// DeleteNetworkRule: policies that name it grant nothing by it any more.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn delete_network_rule(&self, _: &Operator, name: &Name) -> Result<()> {
        self.store.delete_network_rule(name).await?;
        self.refresh().await
    }

    /// CreatePolicy. The rules must exist; what is deleted later grants nothing.
    ///
    /// # Errors
    /// [`Kind::ResourceExists`], [`Kind::InstanceNotFound`], [`Kind::ResourceNotFound`] for a rule, [`Kind::InvalidParameter`].
    pub async fn create_policy(&self, _: &Operator, request: CreatePolicy) -> Result<Policy> {
        check_length("Resources", request.resources.len())?;
        check_length("AccessControlRules", request.rules.len())?;
        if request.permissions.is_empty() || request.resources.is_empty() {
            return Err(Error::invalid("A policy has at least one permission and one resource."));
        }
        check_scope(&request)?;
        if let Scope::Instance(instance) = &request.scope {
            self.served(instance)?;
        }
        for rule in &request.rules {
            if !self.snapshot.access().network_rules.contains_key(rule) {
                return Err(gone("network rule", rule));
            }
        }
        let policy = Policy {
            name: request.name,
            scope: request.scope,
            permissions: request.permissions,
            resources: request.resources.into_iter().collect(),
            rules: request.rules,
            rules_text: request.rules_text,
            description: request.description,
        };
        self.store.create_policy(&policy).await?;
        self.refresh().await?;
        Ok(policy)
    }

    /// DescribePolicy.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub fn describe_policy(&self, _: &Operator, name: &Name) -> Result<Policy> {
        self.snapshot.access().policies.get(name).cloned().ok_or_else(|| gone("policy", name))
    }

    /// ListPolicies, by name.
    pub fn list_policies(&self, _: &Operator, page: Page) -> Paged<Policy> {
        let mut all: Vec<_> = self.snapshot.access().policies.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Paged::cut(all, page)
    }

    /// DeletePolicy: access points that name it get nothing by it any more.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn delete_policy(&self, _: &Operator, name: &Name) -> Result<()> {
        self.store.delete_policy(name).await?;
        self.refresh().await
    }

    /// CreateApplicationAccessPoint. The policies must exist.
    ///
    /// # Errors
    /// [`Kind::ResourceExists`], [`Kind::ResourceNotFound`] for a policy, [`Kind::InvalidParameter`] for more than three.
    pub async fn create_access_point(&self, _: &Operator, request: CreateAccessPoint) -> Result<AccessPoint> {
        let distinct: HashSet<_> = request.policies.iter().collect();
        if request.policies.is_empty()
            || request.policies.len() > POLICIES_PER_ACCESS_POINT
            || distinct.len() < request.policies.len()
        {
            return Err(Error::invalid(format!(
                "An application access point has 1 to {POLICIES_PER_ACCESS_POINT} different policies."
            )));
        }
        for policy in &request.policies {
            if !self.snapshot.access().policies.contains_key(policy) {
                return Err(gone("policy", policy));
            }
        }
        let access_point = AccessPoint {
            name: request.name,
            method: request.method,
            policies: request.policies,
            description: request.description,
        };
        self.store.create_access_point(&access_point).await?;
        self.refresh().await?;
        Ok(access_point)
    }

    /// DescribeApplicationAccessPoint.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub fn describe_access_point(&self, _: &Operator, name: &Name) -> Result<AccessPoint> {
        self.snapshot.access().access_points.get(name).cloned().ok_or_else(|| gone("application access point", name))
    }

    /// ListApplicationAccessPoints, by name.
    pub fn list_access_points(&self, _: &Operator, page: Page) -> Paged<AccessPoint> {
        let mut all: Vec<_> = self.snapshot.access().access_points.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Paged::cut(all, page)
    }

    /// DeleteApplicationAccessPoint: its client keys go with it and stop working at once.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn delete_access_point(&self, _: &Operator, name: &Name) -> Result<()> {
        self.store.delete_access_point(name).await?;
        self.refresh().await
    }

    /// CreateClientKey: the private key is seen this once.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`], [`Kind::LimitExceeded`] for a fourth, [`Kind::InvalidParameter`] for password or dates.
    pub async fn create_client_key(&self, operator: &Operator, request: CreateClientKey) -> Result<CreatedClientKey> {
        certificates::check_password(request.password.expose())?;
        self.describe_access_point(operator, &request.access_point)?;
        let now = self.now();
        let (not_before, not_after) = request.validity.unwrap_or((now, Timestamp::from_unix(now.unix() + FIVE_YEARS)));
        if not_after <= not_before || not_after <= now || not_after > LAST_DATE {
            return Err(Error::invalid("The parameter NotAfter is after NotBefore, in the future, and before the year 10000."));
        }
        let id = ClientKeyId::from_entropy(random::bytes());
        let made = {
            let (id, password) = (id.clone(), request.password);
            let make = move || certificates::new_client_key(&id, &password, not_before, not_after);
            tokio::task::spawn_blocking(make).await.map_err(Error::internal)??
        };
        let client_key = ClientKey {
            id,
            access_point: request.access_point,
            certificate: made.certificate,
            not_before,
            not_after,
            created: now,
        };
        self.store.create_client_key(&client_key).await?;
        self.refresh().await?;
        Ok(CreatedClientKey { client_key, private_key: made.pkcs12 })
    }

    /// GetClientKey.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub fn describe_client_key(&self, _: &Operator, id: &ClientKeyId) -> Result<ClientKey> {
        let found = self.snapshot.access().client_keys.iter().find(|key| key.id == *id).cloned();
        found.ok_or_else(|| Error::new(Kind::ResourceNotFound, format!("There is no client key {id}.")))
    }

    /// ListClientKeys of one access point, or of all.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`] for an access point that is not there.
    pub fn list_client_keys(&self, operator: &Operator, access_point: Option<&Name>) -> Result<Vec<ClientKey>> {
        if let Some(name) = access_point {
            self.describe_access_point(operator, name)?;
        }
        let belongs = |key: &&ClientKey| access_point.is_none_or(|name| key.access_point == *name);
        Ok(self.snapshot.access().client_keys.iter().filter(belongs).cloned().collect())
    }

    /// DeleteClientKey: it stops working at once.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn delete_client_key(&self, _: &Operator, id: &ClientKeyId) -> Result<()> {
        self.store.delete_client_key(id).await?;
        self.refresh().await
    }
}

fn gone(what: &str, name: &Name) -> Error {
    Error::new(Kind::ResourceNotFound, format!("There is no {what} {name}."))
}

fn check_length(parameter: &str, length: usize) -> Result<()> {
    if length <= LIST_LIMIT {
        Ok(())
    } else {
        Err(Error::invalid(format!("The parameter {parameter} lists at most {LIST_LIMIT} items.")))
    }
}

/// SecretUser is for the shared gateway, the other two for an instance.
fn check_scope(request: &CreatePolicy) -> Result<()> {
    let fits = |permission: &Permission| match (permission, &request.scope) {
        (Permission::CryptoServiceKeyUser | Permission::CryptoServiceSecretUser, Scope::Instance(_))
        | (Permission::SecretUser, Scope::Shared) => true,
        (Permission::CryptoServiceKeyUser | Permission::CryptoServiceSecretUser, Scope::Shared)
        | (Permission::SecretUser, Scope::Instance(_)) => false,
    };
    match request.permissions.iter().find(|permission| !fits(permission)) {
        None => Ok(()),
        Some(permission) => {
            Err(Error::invalid(format!("The permission {} does not fit the KmsInstance {}.", permission.name(), request.scope)))
        }
    }
}
