//! Access points, policies, network rules, client keys.

use sqlx::{Row, SqliteConnection};

use super::rows::{Rows, UnusableRow, number, parsed, text};
use super::transaction::{Fault, is_taken};
use super::{Store, corrupt, failed, unreadable};
use crate::base::{Error, Kind, Result, Timestamp};
use crate::model::access::{
    AccessPoint, AuthenticationMethod, CLIENT_KEYS_PER_ACCESS_POINT, Callers, ClientKey, NetworkRule, Policy, ResourcePattern,
    parse_source,
};
use crate::model::{ClientKeyId, Name};

/// All that decides about access, read in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessTables {
    /// By name.
    pub network_rules: Vec<NetworkRule>,
    /// By name.
    pub policies: Vec<Policy>,
    /// By name.
    pub access_points: Vec<AccessPoint>,
    /// The oldest first.
    pub client_keys: Vec<ClientKey>,
}

impl Store {
    /// Keeps a network rule.
    ///
    /// # Errors
    /// [`Kind::ResourceExists`] when the name is taken.
    pub async fn create_network_rule(&self, rule: &NetworkRule) -> Result<()> {
        self.write("create network rule", |writing| Box::pin(insert_network_rule(writing.connection, rule))).await
    }

    /// Keeps a policy.
    ///
    /// # Errors
    /// [`Kind::ResourceExists`] when the name is taken.
    pub async fn create_policy(&self, policy: &Policy) -> Result<()> {
        self.write("create policy", |writing| Box::pin(insert_policy(writing.connection, policy))).await
    }

    /// Keeps an access point.
    ///
    /// # Errors
    /// [`Kind::ResourceExists`] when the name is taken.
    pub async fn create_access_point(&self, access_point: &AccessPoint) -> Result<()> {
        self.write("create access point", |writing| Box::pin(insert_access_point(writing.connection, access_point))).await
    }

    /// Keeps a client key.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`] without its access point, [`Kind::UnsupportedOperation`] when that has none,
    /// [`Kind::LimitExceeded`] when it has three already.
    pub async fn create_client_key(&self, client_key: &ClientKey) -> Result<()> {
        self.write("create client key", |writing| Box::pin(insert_client_key(writing.connection, client_key))).await
    }

    /// Keeps a network rule if there is one, a policy, an access point and its client key if there is one, or none of them.
    ///
    /// # Errors
    /// Those of the four.
    pub async fn create_access(
        &self,
        rule: Option<&NetworkRule>,
        policy: &Policy,
        access_point: &AccessPoint,
        client_key: Option<&ClientKey>,
    ) -> Result<()> {
        self.write("create access", |writing| {
            Box::pin(async move {
                let connection = writing.connection;
                if let Some(rule) = rule {
                    insert_network_rule(connection, rule).await?;
                }
                insert_policy(connection, policy).await?;
                insert_access_point(connection, access_point).await?;
                if let Some(client_key) = client_key {
                    insert_client_key(connection, client_key).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Forgets a network rule; policies that name it grant nothing by it.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn delete_network_rule(&self, name: &Name) -> Result<()> {
        self.delete("delete network rule", "DELETE FROM network_rules WHERE name = $1", "network rule", name.as_str()).await
    }

    /// Forgets a policy; access points that name it get nothing by it.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn delete_policy(&self, name: &Name) -> Result<()> {
        self.delete("delete policy", "DELETE FROM policies WHERE name = $1", "policy", name.as_str()).await
    }

    /// Forgets an access point and its client keys.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn delete_access_point(&self, name: &Name) -> Result<()> {
        self.delete("delete access point", "DELETE FROM access_points WHERE name = $1", "application access point", name.as_str())
            .await
    }

    /// Forgets a client key.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn delete_client_key(&self, id: &ClientKeyId) -> Result<()> {
        self.delete("delete client key", "DELETE FROM client_keys WHERE id = $1", "client key", id.as_str()).await
    }

    /// Notes when client keys were last used; an earlier use than the one that is known changes nothing. No snapshot is read anew for it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn record_uses(&self, uses: &[(ClientKeyId, Timestamp)]) -> Result<()> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        for (id, at) in uses {
            sqlx::query("UPDATE client_keys SET last_used = $2 WHERE id = $1 AND (last_used IS NULL OR last_used < $2)")
                .bind(id.as_str())
                .bind(at.unix())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn delete(&self, name: &'static str, statement: &'static str, what: &'static str, key: &str) -> Result<()> {
        self.write(name, |writing| {
            Box::pin(async move {
                let connection = writing.connection;
                match sqlx::query(statement).bind(key).execute(connection).await?.rows_affected() {
                    0 => Err(Error::new(Kind::ResourceNotFound, format!("There is no {what} {key}.")).into()),
                    _ => Ok(()),
                }
            })
        })
        .await
    }

    /// The access points with what they name, and their client keys, as of one moment. What cannot be used of them is logged.
    ///
    /// # Errors
    /// The database fails.
    pub async fn access(&self) -> Result<AccessTables> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let mut unusable = Vec::new();
        let tables = access_tables(&mut transaction, &mut unusable).await?;
        self.told.tell(unusable);
        Ok(tables)
    }
}

pub(super) async fn access_tables(connection: &mut SqliteConnection, unusable: &mut Vec<UnusableRow>) -> Result<AccessTables> {
    Ok(AccessTables {
        network_rules: network_rules(connection).await?.split(unusable),
        policies: policies(connection).await?.split(unusable),
        access_points: access_points(connection).await?.split(unusable),
        client_keys: client_keys(connection).await?.split(unusable),
    })
}

/// A list of texts as the JSON text of its column.
pub(super) fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    serde_json::Value::from(texts).to_string()
}

/// The texts of a list column.
fn texts(json: &str) -> Result<Vec<String>> {
    serde_json::from_str(json).map_err(Error::internal)
}

/// The parsed items of a list column.
fn items<T: std::str::FromStr<Err = Error>>(json: &str) -> Result<Vec<T>> {
    texts(json)?.iter().map(|text| text.parse().map_err(corrupt)).collect()
}

fn taken(error: sqlx::Error, what: &str, name: &Name) -> Fault {
    if is_taken(&error) {
        Error::new(Kind::ResourceExists, format!("There is a {what} {name} already.")).into()
    } else {
        error.into()
    }
}

async fn insert_network_rule(connection: &mut SqliteConnection, rule: &NetworkRule) -> Result<(), Fault> {
    sqlx::query("INSERT INTO network_rules (name, kind, sources, description) VALUES ($1, $2, $3, $4)")
        .bind(rule.name.as_str())
        .bind(rule.kind.name())
        .bind(list(&rule.sources_text))
        .bind(&rule.description)
        .execute(connection)
        .await
        .map_err(|error| taken(error, "network rule", &rule.name))?;
    Ok(())
}

async fn insert_policy(connection: &mut SqliteConnection, policy: &Policy) -> Result<(), Fault> {
    let statement = "INSERT INTO policies (name, scope, permissions, resources, rules, rules_text, description)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    sqlx::query(statement)
        .bind(policy.name.as_str())
        .bind(policy.scope.to_string())
        .bind(list(policy.permissions.iter().map(|permission| permission.name())))
        .bind(list(&policy.resources))
        .bind(list(&policy.rules))
        .bind(&policy.rules_text)
        .bind(&policy.description)
        .execute(connection)
        .await
        .map_err(|error| taken(error, "policy", &policy.name))?;
    Ok(())
}

async fn insert_access_point(connection: &mut SqliteConnection, access_point: &AccessPoint) -> Result<(), Fault> {
    let role = match &access_point.callers {
        Callers::ClientKeys => None,
        Callers::SessionsOf(role) => Some(role.as_str()),
    };
    sqlx::query("INSERT INTO access_points (name, method, policies, description, role_id) VALUES ($1, $2, $3, $4, $5)")
        .bind(access_point.name.as_str())
        .bind(access_point.callers.method().name())
        .bind(list(&access_point.policies))
        .bind(&access_point.description)
        .bind(role)
        .execute(connection)
        .await
        .map_err(|error| taken(error, "application access point", &access_point.name))?;
    Ok(())
}

async fn insert_client_key(connection: &mut SqliteConnection, key: &ClientKey) -> Result<(), Fault> {
    let name = key.access_point.as_str();
    let method: Option<String> =
        sqlx::query_scalar("SELECT method FROM access_points WHERE name = $1").bind(name).fetch_optional(&mut *connection).await?;
    let Some(method) = method else {
        return Err(Error::new(Kind::ResourceNotFound, format!("There is no application access point {name}.")).into());
    };
    method.parse::<AuthenticationMethod>().map_err(corrupt)?.check_client_keys(name)?;
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM client_keys WHERE access_point = $1")
        .bind(name)
        .fetch_one(&mut *connection)
        .await?;
    if usize::try_from(count).is_ok_and(|count| count >= CLIENT_KEYS_PER_ACCESS_POINT) {
        let text = format!(
            "The application access point {name} has {CLIENT_KEYS_PER_ACCESS_POINT} client keys already: delete one first."
        );
        return Err(Error::new(Kind::LimitExceeded, text).into());
    }
    let statement =
        "INSERT INTO client_keys (id, access_point, certificate, not_before, not_after, created) VALUES ($1, $2, $3, $4, $5, $6)";
    sqlx::query(statement)
        .bind(key.id.as_str())
        .bind(name)
        .bind(&key.certificate)
        .bind(key.not_before.unix())
        .bind(key.not_after.unix())
        .bind(key.created.unix())
        .execute(connection)
        .await?;
    Ok(())
}

async fn network_rules(connection: &mut SqliteConnection) -> Result<Rows<NetworkRule>> {
    let statement = "SELECT name, kind, sources, description FROM network_rules ORDER BY name";
    let rows = sqlx::query(statement).fetch_all(connection).await.map_err(unreadable("network_rules"))?;
    Ok(Rows::read("network_rules", &rows, |row| {
        let sources_text = texts(&text(row, "sources")?)?;
        let sources = sources_text.iter().map(|text| parse_source(text).map_err(corrupt)).collect::<Result<_>>()?;
        let (name, kind) = (parsed(row, "name")?, parsed(row, "kind")?);
        Ok(NetworkRule { name, kind, sources, sources_text, description: text(row, "description")? })
    }))
}

async fn policies(connection: &mut SqliteConnection) -> Result<Rows<Policy>> {
    let statement = "SELECT name, scope, permissions, resources, rules, rules_text, description FROM policies ORDER BY name";
    let rows = sqlx::query(statement).fetch_all(connection).await.map_err(unreadable("policies"))?;
    Ok(Rows::read("policies", &rows, |row| {
        Ok(Policy {
            name: parsed(row, "name")?,
            scope: parsed(row, "scope")?,
            permissions: items(&text(row, "permissions")?)?,
            resources: items::<ResourcePattern>(&text(row, "resources")?)?.into_iter().collect(),
            rules: items(&text(row, "rules")?)?,
            rules_text: text(row, "rules_text")?,
            description: text(row, "description")?,
        })
    }))
}

async fn access_points(connection: &mut SqliteConnection) -> Result<Rows<AccessPoint>> {
    let statement = "SELECT name, method, role_id, policies, description FROM access_points ORDER BY name";
    let rows = sqlx::query(statement).fetch_all(connection).await.map_err(unreadable("access_points"))?;
    Ok(Rows::read("access_points", &rows, |row| {
        let role: Option<String> = row.try_get("role_id").map_err(failed)?;
        let callers = match (parsed(row, "method")?, role) {
            (AuthenticationMethod::ClientKey, None) => Callers::ClientKeys,
            (AuthenticationMethod::RamRole, Some(role)) => Callers::SessionsOf(role.parse().map_err(corrupt)?),
            (AuthenticationMethod::ClientKey, Some(_)) | (AuthenticationMethod::RamRole, None) => {
                return Err(Error::internal("an access point whose method does not fit its role"));
            }
        };
        let (name, policies) = (parsed(row, "name")?, items(&text(row, "policies")?)?);
        Ok(AccessPoint { name, callers, policies, description: text(row, "description")? })
    }))
}

async fn client_keys(connection: &mut SqliteConnection) -> Result<Rows<ClientKey>> {
    let statement =
        "SELECT id, access_point, certificate, not_before, not_after, created, last_used FROM client_keys ORDER BY created, id";
    let rows = sqlx::query(statement).fetch_all(connection).await.map_err(unreadable("client_keys"))?;
    Ok(Rows::read("client_keys", &rows, |row| {
        let date = |column| number(row, column).map(Timestamp::from_unix);
        Ok(ClientKey {
            id: parsed(row, "id")?,
            access_point: parsed(row, "access_point")?,
            certificate: row.try_get("certificate").map_err(failed)?,
            not_before: date("not_before")?,
            not_after: date("not_after")?,
            created: date("created")?,
            last_used: row.try_get::<Option<i64>, _>("last_used").map_err(failed)?.map(Timestamp::from_unix),
        })
    }))
}
