//! Connections: taken in, encrypted, served one request after the other, and ended.

mod connections;
mod gate;
mod head;
mod link;

pub(super) use connections::Connections;
pub(super) use link::{Link, Phase};

use super::{App, door, error::ApiError};
use gate::Gate;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    future::poll_fn,
    io::{self, Write as _},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// How long what a peer still sends is thrown away after the last answer.
const LINGERING: Duration = Duration::from_millis(500);
/// How long nobody is let in after the system had no socket to give.
const PAUSE: Duration = Duration::from_millis(50);
/// Connections that may be closing beside those that have a place.
const CLOSING_MAX: usize = 16;
/// Bytes of an answer that are gathered before they are sent.
const BUFFER_BYTES: usize = 64 * 1024;

/// Lets connections in until it is told to stop, then lets the requests in work end.
pub(super) async fn accept(
    listener: TcpListener,
    app: Arc<App>,
    tls: Option<TlsAcceptor>,
    mut stop: watch::Receiver<()>,
) {
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            // An error means that who could tell it is gone.
            _ = stop.changed() => break,
            accepted = listener.accept() => accepted,
        };
        while tasks.try_join_next().is_some() {}
        // Who has lost their place still has a socket, for a moment. Those are few, however fast others come.
        while tasks.len() >= app.shared.connections.most().saturating_add(CLOSING_MAX) {
            tasks.join_next().await;
        }
        match accepted {
            Ok((socket, _)) => {
                if let Some(serving) = let_in(socket, &app, tls.clone(), stop.clone()) {
                    tasks.spawn(serving);
                }
            }
            // The peer has changed its mind.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
            }
            Err(error) => {
                tracing::warn!(target: "dmdl::gateway", %error, "no connection can be taken in");
                app.shared.connections.make_room();
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let _ = timeout(app.shared.limits.grace, async { while tasks.join_next().await.is_some() {} }).await;
    tasks.shutdown().await;
}

/// Finds a place for a connection, or turns it away at once.
fn let_in(
    socket: TcpStream,
    app: &Arc<App>,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<()>,
) -> Option<impl Future<Output = ()> + use<>> {
    let link = Arc::new(Link::new(socket.local_addr().ok()?, tls.is_some()));
    let Some(place) = app.shared.connections.enter(&link) else {
        app.shared.metrics.refused();
        if tls.is_none() {
            turn_away(socket);
        }
        return None;
    };
    let app = Arc::clone(app);
    Some(async move {
        let place = place;
        let evicted = pin!(link.evicted.notified());
        let serving = pin!(shake_hands(socket, &app, &link, tls, stop));
        tokio::select! {
            biased;
            () = evicted => {}
            () = serving => {}
        }
        drop(place);
    })
}

/// Says that there is no place, if that can be said without waiting.
fn turn_away(socket: TcpStream) {
    let body = ApiError::new(503, "overloaded", "this gateway has all the connections that it can; try again").body();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let answer = [head.into_bytes(), body].concat();
    // A new socket has room for it; one that has not is none to wait for.
    let _ = socket.into_std().and_then(|mut socket| socket.write_all(&answer));
}

async fn shake_hands(
    socket: TcpStream,
    app: &Arc<App>,
    link: &Arc<Link>,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<()>,
) {
    // Answers are written whole; without this the last piece of one waits for an acknowledgement.
    let _ = socket.set_nodelay(true);
    match tls {
        None => serve(socket, app, link, stop).await,
        Some(tls) => match timeout(app.shared.limits.handshake, tls.accept(socket)).await {
            Ok(Ok(socket)) => serve(socket, app, link, stop).await,
            Ok(Err(error)) => tracing::debug!(target: "dmdl::gateway", %error, "no TLS connection came about"),
            Err(_) => tracing::debug!(target: "dmdl::gateway", "a handshake took too long"),
        },
    }
}

/// Serves the requests of one connection.
async fn serve<T: AsyncRead + AsyncWrite + Unpin>(
    socket: T,
    app: &Arc<App>,
    link: &Arc<Link>,
    mut stop: watch::Receiver<()>,
) {
    let gate = Gate::new(socket, Arc::clone(link), app.shared.limits);
    let service = service_fn(|request| {
        let (app, link) = (Arc::clone(app), Arc::clone(link));
        // Taken here and not in the future: in the order of the requests.
        let refused = link.take_turn();
        link.enter(Phase::Busy);
        let answer: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
            Ok::<_, std::convert::Infallible>(
                door::answer(&app, link, refused.map(head::Refusal::problem), request).await,
            )
        });
        answer
    });
    // The gate keeps the time of heads.
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(BUFFER_BYTES);
    let mut connection = builder.serve_connection(TokioIo::new(gate), service);
    let mut stopping = false;
    let ended = loop {
        tokio::select! {
            biased;
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break ended,
            _ = stop.changed(), if !stopping => {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(target: "dmdl::gateway", %error, "a connection broke off");
    }
    link.enter(Phase::Idle);
    connection.into_parts().io.into_inner().close(LINGERING).await;
}
