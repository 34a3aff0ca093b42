//! The management of access: network rules, policies, access points, client keys. Changes hold at once on this node.

use std::collections::HashSet;

use super::keys::check_description;
use super::requests::{
    CreateAccessPoint, CreateClientKey, CreateNetworkRule, CreatePolicy, CreatedClientKey, Operator, Page, Paged,
};
use super::snapshot::Changed;
use super::{Kms, certificates};
use crate::base::{Error, Kind, Result, Timestamp, random};
use crate::model::access::{
    AccessPoint, AuthenticationMethod, Callers, ClientKey, LIST_LIMIT, NetworkRule, POLICIES_PER_ACCESS_POINT, Permission, Policy,
    ResourcePattern, Scope, parse_source,
};
use crate::model::{ClientKeyId, Name};
use crate::store::PolicyChange;

/// How long a client key lasts that nobody gave dates: five years of 365 days, in seconds.
pub const FIVE_YEARS: i64 = 5 * 365 * 86_400;
/// The last second that a certificate's date and the API's form can tell: 9999-12-31T23:59:59Z.
pub(super) const LAST_DATE: Timestamp = Timestamp::from_unix(253_402_300_799);

impl Kms {
    /// CreateNetworkRule.
    ///
    /// # Errors
    /// [`Kind::ResourceExists`]; [`Kind::InvalidParameter`] for what is no address, or too many of them.
    pub async fn create_network_rule(&self, _: &Operator, request: CreateNetworkRule) -> Result<NetworkRule> {
        check_description("Description", &request.description)?;
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
        self.follow(Changed::NetworkRule(&rule.name)).await;
        Ok(rule)
    }

    /// UpdateNetworkRule: what is not given stays. Holds at once for every policy that uses the rule.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`], [`Kind::InvalidParameter`] as [`Kms::create_network_rule`].
    pub async fn update_network_rule(
        &self,
        _: &Operator,
        name: &Name,
        sources: Option<Vec<String>>,
        description: Option<&str>,
    ) -> Result<()> {
        check_description("Description", description.unwrap_or_default())?;
        if let Some(sources) = &sources {
            check_length("SourcePrivateIp", sources.len())?;
            sources.iter().try_for_each(|text| parse_source(text).map(drop))?;
        }
        self.store.update_network_rule(name, sources.as_deref(), description).await?;
        self.follow(Changed::NetworkRule(name)).await;
        Ok(())
    }

    /// DescribeNetworkRule.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub fn describe_network_rule(&self, _: &Operator, name: &Name) -> Result<NetworkRule> {
        self.snapshot.access().network_rules.get(name).cloned().ok_or_else(|| self.gone("network_rules", "network rule", name))
    }

    /// ListNetworkRules, by name.
    pub fn list_network_rules(&self, _: &Operator, page: Page) -> Paged<NetworkRule> {
        let mut all: Vec<_> = self.snapshot.access().network_rules.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Paged::cut(all, page)
    }

    /// DeleteNetworkRule: policies that name it grant nothing by it any more, until there is one of this name again. That there are such
    /// policies is logged: the API refuses nothing for that.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn delete_network_rule(&self, _: &Operator, name: &Name) -> Result<()> {
        self.store.delete_network_rule(name).await?;
        self.follow(Changed::NetworkRule(name)).await;
        let access = self.snapshot.access();
        let policies = access.policies_with_rule(name);
        if !policies.is_empty() {
            tracing::warn!(rule = %name, ?policies, "a network rule was deleted that policies name: the next one of this name is theirs");
        }
        Ok(())
    }

    /// CreatePolicy. The rules must exist; what is deleted later grants nothing.
    ///
    /// # Errors
    /// [`Kind::ResourceExists`], [`Kind::InstanceNotFound`], [`Kind::ResourceNotFound`] for a rule, [`Kind::InvalidParameter`].
    pub async fn create_policy(&self, _: &Operator, request: CreatePolicy) -> Result<Policy> {
        check_description("Description", &request.description)?;
        check_resources(&request.resources)?;
        check_permissions(&request.permissions, &request.scope)?;
        if let Scope::Instance(instance) = &request.scope {
            self.served(instance)?;
        }
        self.check_rules(&request.rules)?;
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
        self.follow(Changed::Policy(&policy.name)).await;
        Ok(policy)
    }

    /// UpdatePolicy: what is not given stays; name and scope are what they are. Holds at once for every access point that has it.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`], [`Kind::InvalidParameter`] as [`Kms::create_policy`].
    pub async fn update_policy(&self, operator: &Operator, name: &Name, change: &PolicyChange) -> Result<()> {
        check_description("Description", change.description.as_deref().unwrap_or_default())?;
        let policy = self.describe_policy(operator, name)?;
        if let Some(resources) = &change.resources {
            check_resources(resources)?;
        }
        if let Some(permissions) = &change.permissions {
            check_permissions(permissions, &policy.scope)?;
        }
        if let Some((rules, _)) = &change.rules {
            self.check_rules(rules)?;
        }
        self.store.update_policy(name, change).await?;
        self.follow(Changed::Policy(name)).await;
        Ok(())
    }

    /// The rules that a policy names must exist.
    fn check_rules(&self, rules: &[Name]) -> Result<()> {
        check_length("AccessControlRules", rules.len())?;
        let access = self.snapshot.access();
        match rules.iter().find(|rule| !access.network_rules.contains_key(rule)) {
            None => Ok(()),
            Some(rule) => Err(self.gone("network_rules", "network rule", rule)),
        }
    }

    /// DescribePolicy.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub fn describe_policy(&self, _: &Operator, name: &Name) -> Result<Policy> {
        self.snapshot.access().policies.get(name).cloned().ok_or_else(|| self.gone("policies", "policy", name))
    }

    /// ListPolicies, by name.
    pub fn list_policies(&self, _: &Operator, page: Page) -> Paged<Policy> {
        let mut all: Vec<_> = self.snapshot.access().policies.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Paged::cut(all, page)
    }

    /// DeletePolicy: access points that name it get nothing by it any more, until there is one of this name again. That there are such
    /// access points is logged: the API refuses nothing for that.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn delete_policy(&self, _: &Operator, name: &Name) -> Result<()> {
        self.store.delete_policy(name).await?;
        self.follow(Changed::Policy(name)).await;
        let access = self.snapshot.access();
        let access_points = access.access_points_with_policy(name);
        if !access_points.is_empty() {
            tracing::warn!(policy = %name, ?access_points, "a policy was deleted that access points name: the next one of this name is theirs");
        }
        Ok(())
    }

    /// CreateApplicationAccessPoint. The policies must exist, and with the method RAMRole a role of its name.
    ///
    /// # Errors
    /// [`Kind::ResourceExists`], [`Kind::ResourceNotFound`] for a policy or the role, [`Kind::InvalidParameter`] for more than three
    /// policies.
    pub async fn create_access_point(&self, _: &Operator, request: CreateAccessPoint) -> Result<AccessPoint> {
        check_description("Description", &request.description)?;
        self.check_policies(&request.policies)?;
        let callers = match request.method {
            AuthenticationMethod::ClientKey => Callers::ClientKeys,
            AuthenticationMethod::RamRole => {
                let access = self.snapshot.access();
                Callers::SessionsOf(access.role(&request.name).ok_or_else(|| no_role(&request.name))?.id.clone())
            }
        };
        let access_point =
            AccessPoint { name: request.name, callers, policies: request.policies, description: request.description };
        self.store.create_access_point(&access_point).await?;
        self.follow(Changed::AccessPoint(&access_point.name)).await;
        Ok(access_point)
    }

    /// UpdateApplicationAccessPoint: what is not given stays. Holds at once.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`], [`Kind::InvalidParameter`] as [`Kms::create_access_point`].
    pub async fn update_access_point(
        &self,
        _: &Operator,
        name: &Name,
        policies: Option<Vec<Name>>,
        description: Option<&str>,
    ) -> Result<()> {
        check_description("Description", description.unwrap_or_default())?;
        if let Some(policies) = &policies {
            self.check_policies(policies)?;
        }
        self.store.update_access_point(name, policies.as_deref(), description).await?;
        self.follow(Changed::AccessPoint(name)).await;
        Ok(())
    }

    /// The policies of an access point: different ones, not too many, and they exist.
    fn check_policies(&self, policies: &[Name]) -> Result<()> {
        let distinct: HashSet<_> = policies.iter().collect();
        if policies.is_empty() || policies.len() > POLICIES_PER_ACCESS_POINT || distinct.len() < policies.len() {
            let text = format!("An application access point has 1 to {POLICIES_PER_ACCESS_POINT} different policies.");
            return Err(Error::invalid(text));
        }
        let access = self.snapshot.access();
        match policies.iter().find(|policy| !access.policies.contains_key(policy)) {
            None => Ok(()),
            Some(policy) => Err(self.gone("policies", "policy", policy)),
        }
    }

    /// DescribeApplicationAccessPoint.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub fn describe_access_point(&self, _: &Operator, name: &Name) -> Result<AccessPoint> {
        self.snapshot
            .access()
            .access_points
            .get(name)
            .cloned()
            .ok_or_else(|| self.gone("access_points", "application access point", name))
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
        self.follow(Changed::AccessPoint(name)).await;
        Ok(())
    }

    /// CreateClientKey: the private key is seen this once.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`], [`Kind::UnsupportedOperation`] when the access point has none, [`Kind::LimitExceeded`] for a fourth,
    /// [`Kind::InvalidParameter`] for password or dates.
    pub async fn create_client_key(&self, operator: &Operator, request: CreateClientKey) -> Result<CreatedClientKey> {
        certificates::check_password(request.password.expose())?;
        let access_point = self.describe_access_point(operator, &request.access_point)?;
        access_point.callers.method().check_client_keys(access_point.name.as_str())?;
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
            last_used: None,
            id,
            access_point: request.access_point,
            certificate: made.certificate,
            not_before,
            not_after,
            created: now,
        };
        self.store.create_client_key(&client_key).await?;
        self.follow(Changed::ClientKey(&client_key.id)).await;
        Ok(CreatedClientKey { client_key, private_key: made.pkcs12 })
    }

    /// GetClientKey.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub fn describe_client_key(&self, _: &Operator, id: &ClientKeyId) -> Result<ClientKey> {
        let found = self.snapshot.access().client_keys.iter().find(|key| key.id == *id).cloned();
        let absent = || Error::new(Kind::ResourceNotFound, format!("There is no client key {id}."));
        found.ok_or_else(|| self.snapshot.unusable.or("client_keys", id.as_str(), absent))
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
        self.follow(Changed::ClientKey(id)).await;
        Ok(())
    }

    fn gone(&self, table: &'static str, what: &str, name: &Name) -> Error {
        let absent = || Error::new(Kind::ResourceNotFound, format!("There is no {what} {name}."));
        self.snapshot.unusable.or(table, name.as_str(), absent)
    }
}

/// What has the method RAMRole is made for a role that is there.
pub(super) fn no_role(name: &Name) -> Error {
    let text = format!(
        "There is no role {name}, whose sessions would be the callers of the application access point {name}: make it first, by \
         `keystead role create {name}`."
    );
    Error::new(Kind::ResourceNotFound, text)
}

fn check_length(parameter: &str, length: usize) -> Result<()> {
    if length <= LIST_LIMIT {
        Ok(())
    } else {
        Err(Error::invalid(format!("The parameter {parameter} lists at most {LIST_LIMIT} items.")))
    }
}

fn check_resources(resources: &[ResourcePattern]) -> Result<()> {
    check_length("Resources", resources.len())?;
    if resources.is_empty() { Err(Error::invalid("A policy has at least one resource.")) } else { Ok(()) }
}

/// SecretUser is for the shared gateway, the other two for an instance.
fn check_permissions(permissions: &[Permission], scope: &Scope) -> Result<()> {
    let fits = |permission: &Permission| match (permission, scope) {
        (Permission::CryptoServiceKeyUser | Permission::CryptoServiceSecretUser, Scope::Instance(_))
        | (Permission::SecretUser, Scope::Shared) => true,
        (Permission::CryptoServiceKeyUser | Permission::CryptoServiceSecretUser, Scope::Shared)
        | (Permission::SecretUser, Scope::Instance(_)) => false,
    };
    if permissions.is_empty() {
        return Err(Error::invalid("A policy has at least one permission."));
    }
    match permissions.iter().find(|permission| !fits(permission)) {
        None => Ok(()),
        Some(permission) => {
            Err(Error::invalid(format!("The permission {} does not fit the KmsInstance {scope}.", permission.name())))
        }
    }
}
