//! Serves the public router on a socket. What people's connections may cost is bounded: how
//! many there are, how long a request's head may take, how long a silent one is kept.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// Connections at a time; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 16_000;
/// How long people and programs are waited for.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// The head of a request must be there this long after it began, and the first request
    /// this long after the connection.
    head: Duration,
    /// Open requests have this long to end once the server stops.
    grace: Duration,
}

const PATIENCE: Patience =
    Patience { head: Duration::from_secs(30), grace: Duration::from_secs(5) };
/// Pause after an error that does not go away at once, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is cancelled, then lets open requests end for a few seconds.
///
/// # Errors
/// When the socket cannot be used at all.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    serve_with(PATIENCE, listener, router, stop).await
}

async fn serve_with(
    patience: Patience,
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    listener.local_addr()?;
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    let kill = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, peer, slot)) => {
                let ending = Ending { head: patience.head, stop: stop.clone(), kill: kill.clone() };
                let router = router.clone();
                connections.spawn(async move {
                    connection(stream, peer, router, ending).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(patience.grace, connections.wait()).await.is_err() {
        tracing::debug!(open = connections.len(), "connections are cut");
        kill.cancel();
        connections.wait().await;
    }
    Ok(())
}

type Slot = tokio::sync::OwnedSemaphorePermit;

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, Slot)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Keystrokes are small; waiting to fill a packet would be felt.
    stream.set_nodelay(true)?;
    Ok((stream, peer, slot))
}

/// What ends a connection.
struct Ending {
    /// No request for this long at its beginning.
    head: Duration,
    /// After the request it is at.
    stop: CancellationToken,
    /// Now.
    kill: CancellationToken,
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, ending: Ending) {
    let spoken = Arc::new(AtomicBool::new(false));
    let service = {
        let spoken = Arc::clone(&spoken);
        service_fn(move |mut request: Request<Incoming>| {
            spoken.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request.map(Body::new))
        })
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(ending.head);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(ending.head);
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let first = tokio::time::sleep(ending.head);
    tokio::pin!(first);
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::trace!(%peer, %error, "a connection ended early");
                }
                return;
            }
            () = ending.kill.cancelled() => return,
            () = ending.stop.cancelled(), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
            // Also one that never said which protocol it speaks.
            () = &mut first, if !spoken.load(Ordering::Relaxed) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    type Serving = tokio::task::JoinHandle<io::Result<()>>;

    async fn started(router: Router) -> (SocketAddr, CancellationToken, Serving) {
        let short = Duration::from_millis(300);
        let patience = Patience { head: short, grace: short };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve_with(patience, listener, router, stop.clone()));
        (address, stop, serving)
    }

    #[tokio::test]
    async fn a_request_knows_its_peer_and_a_stop_lets_it_end() {
        let entered = Arc::new(tokio::sync::Notify::new());
        let leave = Arc::new(tokio::sync::Notify::new());
        let (entering, leaving) = (Arc::clone(&entered), Arc::clone(&leave));
        let router = Router::new().route(
            "/",
            get(move |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move {
                entering.notify_one();
                leaving.notified().await;
                peer.to_string()
            }),
        );
        let (address, stop, serving) = started(router).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        entered.notified().await;
        stop.cancel();
        leave.notify_one();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains(&stream.local_addr().unwrap().to_string()), "{answer}");
        serving.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn who_says_nothing_or_half_a_head_is_cut() {
        for said in ["", "P", "PRI * HT", "GET / HTTP/1.1\r\nhost: x\r\n"] {
            let (address, stop, serving) = started(Router::new()).await;
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            let cut = stream.read_to_end(&mut rest);
            let limit = Duration::from_secs(20);
            drop(tokio::time::timeout(limit, cut).await.expect("an end in time"));
            stop.cancel();
            serving.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_is_cut_after_the_grace() {
        let entered = Arc::new(tokio::sync::Notify::new());
        let entering = Arc::clone(&entered);
        let stuck = move || async move {
            entering.notify_one();
            std::future::pending::<&str>().await
        };
        let (address, stop, serving) = started(Router::new().route("/", get(stuck))).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        entered.notified().await;
        stop.cancel();
        serving.await.unwrap().unwrap();
    }
}
