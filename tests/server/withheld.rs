//! A database that cannot be read or written any more under a server that runs: nobody is refused who cannot be looked up, and readiness names
//! what is wrong.

use std::time::{Duration, Instant};

use keystead::wire::instance_protocol::GenerateRandomRequest;
use keystead::wire::sts::ASSUME_ROLE_WITH_OIDC;
use sqlx::sqlite::SqlitePool;

use crate::bench::{Bench, Call, bench, get};
use crate::shared::{code, query};
use crate::sts::{encrypts, to_kms, to_kms_at, to_sts, user};

async fn database(bench: &Bench) -> SqlitePool {
    SqlitePool::connect(&format!("sqlite:{}", bench.directory.path().join("keystead.db").display())).await.unwrap()
}

async fn execute(database: &SqlitePool, statement: &'static str) {
    sqlx::query(statement).execute(database).await.unwrap();
}

/// What `/readyz` says as soon as it says this of itself; the status, then the page.
async fn readiness(bench: &Bench, says: impl Fn(&str) -> bool) -> (String, String) {
    let begun = Instant::now();
    loop {
        let (head, body) = get(bench.telemetry, "/readyz").await;
        if says(&body) {
            return (head.split_whitespace().nth(1).unwrap().to_owned(), body);
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{head} {body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn while_callers_cannot_be_looked_up_every_door_says_so_and_judges_no_credential() {
    let bench = bench().await;
    let alice = user(&bench, "alice").await;
    bench.kms.spawn_background();
    let database = database(&bench).await;
    let random = GenerateRandomRequest { length: 8 };
    for (table, damage, repair) in [
        ("client_keys", "ALTER TABLE client_keys RENAME TO client_keys_away", "ALTER TABLE client_keys_away RENAME TO client_keys"),
        ("identities", "ALTER TABLE identities RENAME TO identities_away", "ALTER TABLE identities_away RENAME TO identities"),
        ("access_points", "ALTER TABLE access_points RENAME method TO away", "ALTER TABLE access_points RENAME away TO method"),
        ("keys", "ALTER TABLE keys RENAME TO keys_away", "ALTER TABLE keys_away RENAME TO keys"),
    ] {
        execute(&database, damage).await;
        execute(&database, "UPDATE installation SET revision = revision + 1").await;
        let (status, page) = readiness(&bench, |page| page.contains("nobody is let in")).await;
        assert_eq!(status, "503", "{page}");
        let named = page.lines().find(|line| line.contains("nobody is let in")).unwrap();
        assert!(named.contains(table) && named.contains("no such ") && named.contains("backup"), "{named}");
        assert!(get(bench.telemetry, "/metrics").await.1.contains("\nkeystead_snapshot_state{state=\"withheld\"} 1\n"));

        // The credential is good, unknown, or its signature wrong: none of it is known.
        bench.ask("GenerateRandom", &random).await.expect_error(429, "Rejected.Throttling");
        let unknown = bench.call("GenerateRandom", &random).set("x-kms-acccesskeyid", "KAAP.unknown").sign(&bench.client);
        bench.send(unknown).await.expect_error(429, "Rejected.Throttling");
        let changed = bench.call("GenerateRandom", &random).sign(&bench.client).set("x-kms-apiname", "Encrypt");
        bench.send(changed).await.expect_error(429, "Rejected.Throttling");
        let unavailable = (503, "ServiceUnavailableTemporary".to_owned());
        assert_eq!(code(&to_kms(&bench, &alice, "ListKeys", &[]).await), unavailable, "{table}");
        assert_eq!(code(&to_kms_at(&bench, bench.address, &alice, "Encrypt", &[]).await), unavailable, "{table}");
        assert_eq!(code(&to_sts(&bench, &alice, "GetCallerIdentity", &[]).await), unavailable, "{table}");
        let token = [
            ("Action", ASSUME_ROLE_WITH_OIDC),
            ("Version", keystead::wire::sts::VERSION),
            ("Format", "JSON"),
            ("OIDCProviderArn", "acs:ram::0:oidc-provider/cluster"),
            ("OIDCToken", "x"),
        ];
        let call = Call { method: "POST", headers: Vec::new(), body: Vec::new() };
        assert_eq!(code(&bench.send_to(bench.sts, &query(&token), call).await), unavailable, "{table}");

        execute(&database, repair).await;
        let (status, page) = readiness(&bench, |page| !page.contains("nobody is let in")).await;
        assert_eq!(status, "200", "{page}");
        assert_eq!(bench.ask("GenerateRandom", &random).await.status, 200, "{table}");
        assert_eq!(to_sts(&bench, &alice, "GetCallerIdentity", &[]).await.status, 200, "{table}");
    }
    bench.kms.close().await;
}

#[tokio::test]
async fn a_change_counter_that_cannot_be_raised_or_read_is_named_and_stops_no_cryptography() {
    let bench = bench().await;
    let alice = user(&bench, "alice").await;
    bench.kms.spawn_background();
    let database = database(&bench).await;
    execute(&database, "CREATE TABLE kept AS SELECT * FROM installation").await;
    for (damage, says) in [
        ("UPDATE installation SET revision = 9223372036854775807", "the change counter shows the highest number that there is"),
        ("DELETE FROM installation", "the change counter is gone"),
        ("ALTER TABLE installation RENAME TO away", "the table installation cannot be read"),
    ] {
        execute(&database, damage).await;
        let (status, page) = readiness(&bench, |page| page.contains(says)).await;
        assert_eq!(status, "200", "cryptography is served: {page}");
        assert!(page.lines().any(|line| line.starts_with("remark: ") && line.contains("back from a backup")), "{page}");
        let metrics = get(bench.telemetry, "/metrics").await.1;
        let [behind, unusable] =
            ["keystead_snapshot_state{state=\"behind\"} 1\n", "keystead_unusable_rows{table=\"installation\"} 1\n"];
        assert!(metrics.contains(behind) || metrics.contains(unusable), "{metrics}");
        assert_eq!(bench.ask("GenerateRandom", &GenerateRandomRequest { length: 8 }).await.status, 200, "{says}");
        assert_ne!(encrypts(&bench, &alice).await, "ServiceUnavailableTemporary", "{says}");
        if says.contains("the table") {
            execute(&database, "ALTER TABLE away RENAME TO installation").await;
        }
        execute(&database, "DELETE FROM installation").await;
        execute(&database, "INSERT INTO installation SELECT * FROM kept").await;
        readiness(&bench, |page| !page.contains("remark")).await;
    }
    bench.kms.close().await;
}
