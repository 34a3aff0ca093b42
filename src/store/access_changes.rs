//! Changes of network rules, policies and access points. What is not given stays as it is, whatever is written at the same moment.

use super::access::list;
use super::{Store, transaction::Fault};
use crate::base::{Error, Kind, Result};
use crate::model::Name;
use crate::model::access::{Permission, ResourcePattern};

/// What changes of a policy.
#[derive(Clone, Debug, Default)]
pub struct PolicyChange {
    /// What it grants.
    pub permissions: Option<Vec<Permission>>,
    /// On what.
    pub resources: Option<Vec<ResourcePattern>>,
    /// The names of its network rules, and `AccessControlRules` as it was given.
    pub rules: Option<(Vec<Name>, String)>,
    /// Free text.
    pub description: Option<String>,
}

impl Store {
    /// Changes the addresses of a network rule, as they were given, and its description.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn update_network_rule(&self, name: &Name, sources: Option<&[String]>, description: Option<&str>) -> Result<()> {
        let sources = sources.map(list);
        let sources = sources.as_deref();
        self.write("update network rule", move |writing| {
            Box::pin(async move {
                let statement =
                    "UPDATE network_rules SET sources = COALESCE($2, sources), description = COALESCE($3, description) WHERE name = $1";
                let query = sqlx::query(statement).bind(name.as_str()).bind(sources).bind(description);
                found(query.execute(writing.connection).await?.rows_affected(), "network rule", name)
            })
        })
        .await
    }

    /// Changes a policy.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn update_policy(&self, name: &Name, change: &PolicyChange) -> Result<()> {
        let permissions = change.permissions.as_ref().map(|permissions| list(permissions.iter().map(|one| one.name())));
        let resources = change.resources.as_ref().map(list);
        let rules = change.rules.as_ref().map(|(rules, _)| list(rules));
        let (permissions, resources, rules) = (permissions.as_deref(), resources.as_deref(), rules.as_deref());
        self.write("update policy", move |writing| {
            Box::pin(async move {
                let statement = "UPDATE policies SET permissions = COALESCE($2, permissions), resources = COALESCE($3, resources),
                    rules = COALESCE($4, rules), rules_text = COALESCE($5, rules_text), description = COALESCE($6, description)
                    WHERE name = $1";
                let query = sqlx::query(statement)
                    .bind(name.as_str())
                    .bind(permissions)
                    .bind(resources)
                    .bind(rules)
                    .bind(change.rules.as_ref().map(|(_, text)| text))
                    .bind(change.description.as_ref());
                found(query.execute(writing.connection).await?.rows_affected(), "policy", name)
            })
        })
        .await
    }

    /// Changes the policies of an access point and its description.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn update_access_point(&self, name: &Name, policies: Option<&[Name]>, description: Option<&str>) -> Result<()> {
        let policies = policies.map(list);
        let policies = policies.as_deref();
        self.write("update access point", move |writing| {
            Box::pin(async move {
                let statement =
                    "UPDATE access_points SET policies = COALESCE($2, policies), description = COALESCE($3, description) WHERE name = $1";
                let query = sqlx::query(statement).bind(name.as_str()).bind(policies).bind(description);
                found(query.execute(writing.connection).await?.rows_affected(), "application access point", name)
            })
        })
        .await
    }
}

fn found(rows: u64, what: &str, name: &Name) -> Result<(), Fault> {
    match rows {
        0 => Err(Error::new(Kind::ResourceNotFound, format!("There is no {what} {name}.")).into()),
        _ => Ok(()),
    }
}
