//! A client that costs the machine little: its requests are signed and written out beforehand, and of an answer it reads the status
//! and the length.

use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keystead::measure::{Laps, Slice, Times};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::Signed;

/// Longer answers are none of ours.
const LIMIT: usize = 64 * 1024;

/// A request as it is sent.
pub fn written(signed: &Signed) -> Arc<[u8]> {
    let mut bytes = b"POST / HTTP/1.1\r\n".to_vec();
    for (name, value) in &signed.headers {
        bytes.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    bytes.extend(format!("content-length: {}\r\n\r\n", signed.body.len()).into_bytes());
    bytes.extend(&signed.body);
    bytes.into()
}

/// A connection that is kept alive.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(endpoint: &str, config: &Arc<ClientConfig>) -> Result<Self> {
        let stream = TcpStream::connect(endpoint).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").map_err(Error::other)?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a request and reads the answer; gives its status.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        loop {
            if let Some((status, length)) = head(&self.buffer)
                && self.buffer.len() >= length
            {
                return Ok(status);
            }
            if self.buffer.len() > LIMIT || self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "no whole answer"));
            }
        }
    }

    /// The same for a request that must be served.
    pub async fn served(&mut self, request: &[u8]) -> Result<()> {
        match self.exchange(request).await? {
            200 => Ok(()),
            status => Err(Error::other(format!("answered by {status}: {}", String::from_utf8_lossy(&self.buffer)))),
        }
    }
}

/// Status and whole length of an answer whose head is there.
fn head(bytes: &[u8]) -> Option<(u16, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse::<usize>().ok() } else { None }
    });
    Some((status, end + length.unwrap_or(0)))
}

/// So many connections.
pub async fn connect(endpoint: &str, config: &Arc<ClientConfig>, connections: usize) -> Result<Vec<Connection>> {
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        open.push(Connection::open(endpoint, config).await?);
    }
    Ok(open)
}

/// What a connection sends.
pub enum Sending {
    /// One request again and again.
    Again(Arc<[u8]>),
    /// These, each once.
    Once(std::vec::IntoIter<Box<[u8]>>),
}

/// Sends on all connections, each its own, for so long; gives the connections back.
pub async fn load(connections: &mut Vec<Connection>, sending: Vec<Sending>, length: Duration) -> Result<Slice> {
    let begun = Instant::now();
    let tasks: Vec<_> = connections
        .drain(..)
        .zip(sending)
        .map(|(mut connection, mut sending)| {
            tokio::spawn(async move {
                let mut laps = Laps::until(begun + length);
                while laps.go_on() {
                    match &mut sending {
                        Sending::Again(request) => connection.served(request).await?,
                        Sending::Once(requests) => {
                            let request = requests.next().ok_or_else(|| Error::other("more were served than were signed"))?;
                            connection.served(&request).await?;
                        }
                    }
                    laps.note();
                }
                Ok::<_, Error>((connection, laps.times()))
            })
        })
        .collect();
    let mut times = Times::default();
    for task in tasks {
        let (connection, noted) = task.await.map_err(Error::other)??;
        times.add(&noted);
        connections.push(connection);
    }
    Ok(Slice { length: begun.elapsed(), times })
}
