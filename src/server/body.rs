//! Bodies: read whole within a bound and a time.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::HeaderMap;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_LENGTH;

/// The body of an answer.
pub(super) type Body = Full<Bytes>;

/// How long a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is longer than it may be; the rest was not read.
    TooLarge,
    /// The client broke off or took too long.
    BrokenOff,
}

/// Reads the body that follows these headers. What announces itself as too long is not read at all.
pub(super) async fn read(headers: &HeaderMap, body: Incoming, limit: usize) -> Result<Bytes, Unread> {
    if announced(headers).is_some_and(|length| length > limit as u64) {
        return Err(Unread::TooLarge);
    }
    let reading = Limited::new(body, limit).collect();
    match tokio::time::timeout(ARRIVAL, reading).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Unread::TooLarge),
        Ok(Err(_)) | Err(_) => Err(Unread::BrokenOff),
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
