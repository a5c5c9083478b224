//! Connections to one gateway, kept for the next request.
//!
//! A request has a connection to itself until its answer was read to the end. One that was kept may be gone when it is
//! needed: then another one is made, as long as nothing was sent on it.

use super::pinned::PinError;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where a gateway is, and how it is spoken to.
pub(super) struct Way {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// The connections of one person to a gateway.
pub(super) struct Connections {
    way: Arc<Way>,
    idle: Mutex<Vec<Connection>>,
}

/// One connection.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Whether it was used before: the gateway may have closed it since.
    kept: bool,
    session: Option<Instant>,
}

/// Why there is no answer.
pub(super) type Broken = Box<dyn Error + Send + Sync>;

/// What came of a request.
pub(super) enum Sent {
    /// The head of an answer, and the connection that the rest of it comes on.
    Answered(Response<Incoming>, Connection),
    /// Nothing: the connection had been closed, and the request was not sent.
    NotSent,
}

impl Way {
    /// To a gateway, with TLS where its address says so.
    pub(super) fn new(base: &Uri, tls: ClientConfig) -> Result<Self, PinError> {
        let bad = || PinError::Address(base.to_string());
        let host = base.host().ok_or_else(bad)?.trim_matches(['[', ']']).to_owned();
        let secure = base.scheme_str() == Some("https");
        let tls = if secure {
            let name = ServerName::try_from(host.clone()).map_err(|_| bad())?;
            Some((TlsConnector::from(Arc::new(tls)), name))
        } else {
            None
        };
        Ok(Self { port: base.port_u16().unwrap_or(if secure { 443 } else { 80 }), host, tls })
    }

    async fn connect(&self) -> Result<Connection, Broken> {
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await?;
        // What is written is a whole request: nothing is gained by waiting for more.
        socket.set_nodelay(true)?;
        let sender = match &self.tls {
            None => drive(socket).await?,
            Some((tls, name)) => drive(tls.connect(name.clone(), socket).await?).await?,
        };
        Ok(Connection { sender, kept: false, session: None })
    }
}

/// Speaks HTTP on a stream, in a task of its own.
async fn drive<T>(stream: T) -> Result<SendRequest<Full<Bytes>>, Broken>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // How it ended is told to whoever waits for an answer on it.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

impl Connections {
    pub(super) fn new(way: Arc<Way>) -> Self {
        Self { way, idle: Mutex::default() }
    }

    /// The way, for somebody else's connections.
    pub(super) fn way(&self) -> Arc<Way> {
        Arc::clone(&self.way)
    }

    /// A connection that nobody else uses: the one that was kept last, or a new one.
    pub(super) async fn take(&self) -> Result<Connection, Broken> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match kept {
            Some(connection) => Ok(connection),
            None => self.way.connect().await,
        }
    }

    /// Keeps a connection whose answer was read to the end.
    pub(super) fn keep(&self, connection: Connection) {
        let connection = Connection { kept: true, ..connection };
        if !connection.sender.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

impl Connection {
    /// Until when requests need no signature; none where each does.
    pub(super) const fn session(&self) -> Option<Instant> {
        self.session
    }

    /// The same, once a session was opened on it, or none is wanted any more.
    pub(super) fn in_session(self, until: Option<Instant>) -> Self {
        Self { session: until, ..self }
    }

    /// Sends a request whose target is a path.
    pub(super) async fn send(mut self, request: Request<Full<Bytes>>) -> Result<Sent, Broken> {
        // The last answer was read to its end: at worst the connection's task has yet to notice.
        match self.sender.ready().await {
            Err(_) if self.kept => return Ok(Sent::NotSent),
            ready => ready?,
        }
        match self.sender.try_send_request(request).await {
            Ok(answer) => Ok(Sent::Answered(answer, self)),
            Err(error) if self.kept && error.message().is_some() => Ok(Sent::NotSent),
            Err(error) => Err(error.into_error().into()),
        }
    }
}
