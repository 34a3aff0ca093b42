//! The running server of an installation: where it listens, and what its telemetry says.
//!
//! It writes `ready.json` into the data folder when it serves, and takes it away when it ends.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use super::files::{Files, replace};
use crate::base::{Error, Kind, Result};

/// How long the telemetry may take to answer what it knows by heart.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the server listens: `ready.json`, for scripts, too.
#[derive(Serialize, Deserialize)]
pub(super) struct Ready {
    pub(super) pid: u32,
    pub(super) control: At,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sts: Option<At>,
    pub(super) telemetry: Option<At>,
    pub(super) instances: Vec<InstanceAt>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct At {
    pub(super) endpoint: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct InstanceAt {
    pub(super) instance_id: String,
    pub(super) endpoint: String,
}

fn unavailable(text: String) -> Error {
    Error::new(Kind::Unavailable, text)
}

impl Ready {
    /// What the running server wrote; nothing when none runs, or it does not serve yet.
    pub(super) fn read(files: &Files<'_>) -> Result<Option<Self>> {
        match std::fs::read(files.ready()) {
            Ok(json) => Ok(Some(serde_json::from_slice(&json).map_err(Error::internal)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unavailable(format!("{} cannot be read: {error}.", files.ready().display()))),
        }
    }

    pub(super) fn write(&self, files: &Files<'_>) -> Result<()> {
        replace(&files.ready(), &serde_json::to_vec_pretty(self).map_err(Error::internal)?)
    }
}

/// An answer of the telemetry, and of which process.
pub(super) struct Answer {
    pub(super) pid: u32,
    pub(super) endpoint: String,
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Asks the telemetry of the server that runs now.
///
/// # Errors
/// One line: no server runs, it has no telemetry, or it does not answer.
pub(super) async fn ask(files: &Files<'_>, path: &str) -> Result<Answer> {
    let none =
        || unavailable("No server runs on this configuration, or it is only starting; keystead serve starts one.".to_owned());
    let ready = Ready::read(files)?.ok_or_else(none)?;
    let At { endpoint } = ready.telemetry.ok_or_else(|| {
        let how = "add [telemetry] with listen = \"127.0.0.1:9464\" to the configuration and restart it";
        unavailable(format!("The running server has no telemetry to be asked; {how}."))
    })?;
    match tokio::time::timeout(PATIENCE, get(&endpoint, path)).await {
        Ok(Ok((status, body))) => Ok(Answer { pid: ready.pid, endpoint, status, body }),
        // A server that was killed leaves its addresses behind.
        Ok(Err(error)) => Err(unavailable(format!("No server answers at {endpoint} ({error}); keystead serve starts one."))),
        Err(_) => Err(unavailable(format!("The server at {endpoint} does not answer within {} s.", PATIENCE.as_secs()))),
    }
}

/// One request on a connection of its own.
async fn get(endpoint: &str, path: &str) -> std::result::Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(endpoint).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path).header("host", endpoint).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok((status, body))
}
