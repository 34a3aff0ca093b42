//! Signed requests of the instance protocol on a connection, and the codes of their answers.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use keystead::wire::instance_protocol::ErrorMessage;
use prost::Message;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::{Client, Signed};

/// A signed request, to be sent as often as one likes.
pub fn request(signed: Signed) -> Request<Full<Bytes>> {
    let request = Request::post("/");
    let request = signed.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
    request.body(Full::new(Bytes::from(signed.body))).unwrap()
}

pub async fn connect(client: &Client, endpoint: &str) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(endpoint).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(client.tls(rustls::DEFAULT_VERSIONS)).connect(name, stream).await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub async fn code_of(response: Response<hyper::body::Incoming>) -> String {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    if status.is_success() { "OK".to_owned() } else { ErrorMessage::decode(body).unwrap().error_code }
}
