//! Alerts: which were found, so that each is told once, and which are still to be sent. Sending is claimed, so that one node does it; an
//! alert leaves the queue when it was taken, so that a crash costs a second sending and never an alert.
//!
//! No snapshot shows them, so they do not raise the change counter.

use std::collections::HashSet;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::rows::{Rows, number, parsed, text};
use super::transaction::Fault;
use super::{Store, corrupt, failed};
use crate::base::{Error, Result, Timestamp};
use crate::model::alert::{Alert, SendingAttempt};

/// The most alerts that wait to be sent; then the oldest is dropped. As many are kept for when there is somewhere to send them.
pub const ALERT_QUEUE: u32 = 1000;

/// Whether alerts are to be sent anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// They wait to be sent.
    Queue,
    /// There is nowhere to send them: they are remembered, until there is.
    Nowhere,
}

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// It was told before.
    Known,
    /// It is new; so many older ones were dropped for it.
    New {
        /// How many.
        dropped: u64,
    },
}

impl Store {
    /// The ids of the alerts that were told and could be found again, and of those that wait.
    ///
    /// # Errors
    /// The database fails.
    pub async fn alerts_told(&self) -> Result<HashSet<String>> {
        let ids: Vec<String> = sqlx::query_scalar("SELECT id FROM alerts").fetch_all(&self.pool).await.map_err(failed)?;
        Ok(ids.into_iter().collect())
    }

    /// Notes an alert, unless it was told before, and forgets those that nothing finds again.
    ///
    /// # Errors
    /// The database fails.
    pub async fn raise_alert(&self, alert: &Alert, sending: Sending) -> Result<Raised> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let raised = insert_alert(&mut transaction, alert, sending).await.map_err(fault)?;
        transaction.commit().await.map_err(failed)?;
        Ok(raised)
    }

    /// Lets an alert be told again, since what it told of has ended. One that waits is sent first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn forget_alert(&self, id: &str) -> Result<()> {
        sqlx::query("DELETE FROM alerts WHERE id = $1 AND queued IS NULL").bind(id).execute(&self.pool).await.map_err(failed)?;
        Ok(())
    }

    /// Lets the alerts wait to be sent that were raised where there was nowhere to send them and still `stand`; the others are done with.
    /// How many wait for that, and how many older ones were dropped for them.
    ///
    /// # Errors
    /// The database fails.
    pub async fn queue_unsent(&self, stands: impl Fn(&Alert) -> bool) -> Result<(u64, u64)> {
        let statement = "SELECT id, event, at, resource, content, remembered_until FROM alerts WHERE unsent <> 0 ORDER BY at, id";
        let rows = sqlx::query(statement).fetch_all(&self.pool).await.map_err(failed)?;
        let unsent = self.told.usable(Rows::read("alerts", &rows, alert));
        if unsent.is_empty() {
            return Ok((0, 0));
        }
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let mut queued = 0;
        for alert in unsent {
            // Another node may have been faster.
            let statement = if stands(&alert) {
                "UPDATE alerts SET unsent = 0, queued = (SELECT COALESCE(MAX(queued), 0) + 1 FROM alerts)
                    WHERE id = $1 AND unsent <> 0 RETURNING 1"
            } else {
                "UPDATE alerts SET unsent = 0 WHERE id = $1 AND unsent <> 0 RETURNING 0"
            };
            let settled: Option<i64> =
                sqlx::query_scalar(statement).bind(&alert.id).fetch_optional(&mut *transaction).await.map_err(failed)?;
            queued += settled.unwrap_or(0).cast_unsigned();
        }
        let dropped = drop_oldest(&mut transaction).await.map_err(fault)?;
        transaction.commit().await.map_err(failed)?;
        Ok((queued, dropped))
    }

    /// The alert that waits longest, if `claim` makes an attempt of the last one that did not succeed. Of several nodes that claim at
    /// once one gets the attempt.
    ///
    /// # Errors
    /// The database fails.
    pub async fn claim_alert(
        &self,
        claim: impl Fn(Option<SendingAttempt>) -> Option<SendingAttempt> + Send + Sync,
    ) -> Result<Option<(Alert, SendingAttempt)>> {
        if self.alerts_queued().await? == 0 {
            return Ok(None);
        }
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let row: Option<(i64, i64)> =
            sqlx::query_as("SELECT number, ends_at FROM alert_attempts").fetch_optional(&mut *transaction).await.map_err(failed)?;
        let last = row.map(attempt).transpose()?;
        let Some(next) = claim(last) else { return Ok(None) };
        let Some(waiting) = self.first_of_queue(&mut transaction).await? else {
            transaction.commit().await.map_err(failed)?;
            return Ok(None);
        };
        let statement = "INSERT INTO alert_attempts (id, number, ends_at) VALUES (1, $1, $2)
            ON CONFLICT (id) DO UPDATE SET number = excluded.number, ends_at = excluded.ends_at";
        sqlx::query(statement)
            .bind(i64::from(next.number))
            .bind(next.ends_at.unix())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(Some((waiting, next)))
    }

    /// The alert that waits longest. One that cannot be used is logged and waits no longer: the others would wait for it.
    async fn first_of_queue(&self, connection: &mut SqliteConnection) -> Result<Option<Alert>> {
        loop {
            let statement = "SELECT id, event, at, resource, content, remembered_until FROM alerts WHERE queued IS NOT NULL
                ORDER BY queued LIMIT 1";
            let rows = sqlx::query(statement).fetch_all(&mut *connection).await.map_err(failed)?;
            if rows.is_empty() {
                return Ok(None);
            }
            if let Some(alert) = self.told.usable(Rows::read("alerts", &rows, alert)).pop() {
                return Ok(Some(alert));
            }
            let statement = "UPDATE alerts SET queued = NULL WHERE queued = (SELECT MIN(queued) FROM alerts)";
            sqlx::query(statement).execute(&mut *connection).await.map_err(failed)?;
        }
    }

    /// An alert was not taken: the others go before it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn alert_refused(&self, id: &str) -> Result<()> {
        let statement = "UPDATE alerts SET queued = (SELECT MAX(queued) + 1 FROM alerts) WHERE id = $1 AND queued IS NOT NULL";
        sqlx::query(statement).bind(id).execute(&self.pool).await.map_err(failed)?;
        Ok(())
    }

    /// An alert was taken by whoever is told: it leaves the queue, and the next may be sent at once.
    ///
    /// # Errors
    /// The database fails.
    pub async fn alert_sent(&self, id: &str) -> Result<()> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        sqlx::query("UPDATE alerts SET queued = NULL WHERE id = $1").bind(id).execute(&mut *transaction).await.map_err(failed)?;
        sqlx::query("DELETE FROM alert_attempts").execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// How many wait to be sent.
    ///
    /// # Errors
    /// The database fails.
    pub async fn alerts_queued(&self) -> Result<u64> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM alerts WHERE queued IS NOT NULL")
            .fetch_one(&self.pool)
            .await
            .map_err(failed)?;
        Ok(count.cast_unsigned())
    }
}

/// Notes an alert in the transaction of what it tells.
pub(super) async fn insert_alert(connection: &mut SqliteConnection, alert: &Alert, sending: Sending) -> Result<Raised, Fault> {
    sqlx::query("DELETE FROM alerts WHERE queued IS NULL AND unsent = 0 AND remembered_until < $1 AND id <> $2")
        .bind(alert.at.unix())
        .bind(&alert.id)
        .execute(&mut *connection)
        .await?;
    let (place, unsent): (Option<i64>, i64) = match sending {
        Sending::Queue => {
            (Some(sqlx::query_scalar("SELECT COALESCE(MAX(queued), 0) + 1 FROM alerts").fetch_one(&mut *connection).await?), 0)
        }
        Sending::Nowhere => (None, 1),
    };
    let content = serde_json::to_string(&alert.content).map_err(Error::internal)?;
    let statement = "INSERT INTO alerts (id, event, at, resource, content, remembered_until, queued, unsent)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING";
    let inserted = sqlx::query(statement)
        .bind(&alert.id)
        .bind(alert.event.name())
        .bind(alert.at.unix())
        .bind(&alert.resource)
        .bind(content)
        .bind(alert.remembered_until.unix())
        .bind(place)
        .bind(unsent)
        .execute(&mut *connection)
        .await?;
    if inserted.rows_affected() == 0 {
        return Ok(Raised::Known);
    }
    let statement = "UPDATE alerts SET unsent = 0 WHERE unsent <> 0 AND id NOT IN
        (SELECT id FROM alerts WHERE unsent <> 0 ORDER BY at DESC, id LIMIT $1)";
    sqlx::query(statement).bind(i64::from(ALERT_QUEUE)).execute(&mut *connection).await?;
    Ok(Raised::New { dropped: drop_oldest(connection).await? })
}

/// Drops what is too much in the queue, and says how much that was.
async fn drop_oldest(connection: &mut SqliteConnection) -> Result<u64, Fault> {
    let statement = "UPDATE alerts SET queued = NULL WHERE queued IS NOT NULL AND id NOT IN
        (SELECT id FROM alerts WHERE queued IS NOT NULL ORDER BY queued DESC LIMIT $1)";
    Ok(sqlx::query(statement).bind(i64::from(ALERT_QUEUE)).execute(connection).await?.rows_affected())
}

fn alert(row: &SqliteRow) -> Result<Alert> {
    Ok(Alert {
        id: text(row, "id")?,
        event: parsed(row, "event")?,
        at: Timestamp::from_unix(number(row, "at")?),
        resource: text(row, "resource")?,
        content: serde_json::from_str(&text(row, "content")?).map_err(corrupt)?,
        remembered_until: Timestamp::from_unix(number(row, "remembered_until")?),
    })
}

fn attempt((number, ends_at): (i64, i64)) -> Result<SendingAttempt> {
    Ok(SendingAttempt { number: number.try_into().map_err(corrupt)?, ends_at: Timestamp::from_unix(ends_at) })
}

fn fault(fault: Fault) -> Error {
    match fault {
        Fault::Database(error) => failed(error),
        Fault::Ours(error) => error,
    }
}
