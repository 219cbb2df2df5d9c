//! A proxy in front of the real S3 server that breaks things by command. The product has no
//! switches for faults: to it this is the store.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It passes.
    None,
    /// It passes after this long.
    Delay(Duration),
    /// 503 SlowDown: too many requests.
    SlowDown,
    /// 403 AccessDenied: wrong or revoked keys.
    Denied,
    /// 507: no space left.
    Full,
    /// 500 InternalError.
    Internal,
    /// The connection breaks before anything was done.
    Reset,
    /// It is done, and the connection breaks before the answer.
    LoseAnswer,
    /// No answer, ever.
    Blackhole,
}

/// Which requests a fault befalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those that store an object.
    Puts,
    /// All of them.
    All,
}

/// Requests that came since the last look, by method and kind of object, such as `PUT log`.
pub type Counts = BTreeMap<String, u64>;

#[derive(Debug)]
struct State {
    fault: Fault,
    scope: Scope,
    /// Of a hundred requests in the scope.
    percent: u32,
    counts: Counts,
}

/// The proxy; ends when dropped.
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _accepting: JoinSet<()>,
}

type Body = BoxBody<Bytes, hyper::Error>;

impl FaultProxy {
    /// Starts on a free port; everything passes.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state =
            State { fault: Fault::None, scope: Scope::All, percent: 100, counts: Counts::new() };
        let state = Arc::new(Mutex::new(state));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, upstream, state.clone()));
        Ok(Self { address, state, _accepting: accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, this befalls each request in `scope`.
    pub fn set(&self, fault: Fault, scope: Scope) {
        self.set_for(fault, scope, 100);
    }

    /// From now on, this befalls `percent` of a hundred requests in `scope`, at random.
    pub fn set_for(&self, fault: Fault, scope: Scope, percent: u32) {
        let mut state = lock(&self.state);
        (state.fault, state.scope, state.percent) = (fault, scope, percent);
    }

    /// Everything passes again. What hangs already hangs on, as in life.
    pub fn clear(&self) {
        self.set(Fault::None, Scope::All);
    }

    /// The requests since the last call, failed ones included.
    pub fn take_counts(&self) -> Counts {
        std::mem::take(&mut lock(&self.state).counts)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, upstream: SocketAddr, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        connections.spawn(async move {
            if let Err(error) = connection(stream, upstream, state).await {
                eprintln!("fault proxy: {error:#}");
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(
    stream: TcpStream,
    upstream: SocketAddr,
    state: Arc<Mutex<State>>,
) -> Result<()> {
    let socket = Arc::new(stream.as_fd().try_clone_to_owned()?);
    let service =
        service_fn(move |request| answer(request, upstream, state.clone(), socket.clone()));
    // Broken connections are what this is for.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    Ok(())
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is broken on purpose")]
struct Broken;

async fn answer(
    request: Request<Incoming>,
    upstream: SocketAddr,
    state: Arc<Mutex<State>>,
    socket: Arc<OwnedFd>,
) -> Result<Response<Body>, Broken> {
    let fault = choose(&request, &state);
    match fault {
        Fault::None => {}
        Fault::Delay(time) => tokio::time::sleep(time).await,
        Fault::SlowDown => return refuse(request, 503, "SlowDown").await,
        Fault::Denied => return refuse(request, 403, "AccessDenied").await,
        Fault::Full => return refuse(request, 507, "XMinioStorageFull").await,
        Fault::Internal => return refuse(request, 500, "InternalError").await,
        Fault::Reset => return Err(reset(&socket)),
        Fault::Blackhole => std::future::pending().await,
        Fault::LoseAnswer => {
            if let Ok(answer) = forward(request, upstream).await {
                drop(answer.into_body().collect().await);
            }
            return Err(reset(&socket));
        }
    }
    forward(request, upstream).await.map_err(|_| reset(&socket))
}

fn choose(request: &Request<Incoming>, state: &Mutex<State>) -> Fault {
    let mut state = lock(state);
    let name = format!("{} {}", request.method(), kind(request));
    *state.counts.entry(name).or_default() += 1;
    let concerned = state.scope == Scope::All || *request.method() == Method::PUT;
    match concerned && rand::random_range(0..100) < state.percent {
        true => state.fault,
        false => Fault::None,
    }
}

/// What the object is, going by its key.
fn kind(request: &Request<Incoming>) -> &'static str {
    let path = request.uri().path();
    if request.uri().query().is_some_and(|query| query.contains("list-type")) {
        return "listing";
    }
    let parts: Vec<&str> = path.split('/').collect();
    let names = [
        ("log", "log"),
        ("alive", "alive"),
        ("s", "snapshot"),
        ("m", "manifest"),
        ("b", "blob"),
        ("t", "scrollback"),
        ("h", "history"),
        ("meta", "catalogue"),
        ("templates", "template"),
        ("probe", "probe"),
    ];
    names.iter().find(|(part, _)| parts.contains(part)).map_or("other", |(_, name)| name)
}

/// With RST, as a crashed machine's network does.
fn reset(socket: &OwnedFd) -> Broken {
    // An already closed socket needs none.
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
    Broken
}

async fn refuse(
    request: Request<Incoming>,
    status: u16,
    code: &str,
) -> Result<Response<Body>, Broken> {
    // Read to the end, so that the client gets the answer and not a broken connection.
    request.into_body().collect().await.map_err(|_| Broken)?;
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>injected</Message></Error>"
    );
    let body = Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_| Broken)?;
    Ok(response)
}

async fn forward(request: Request<Incoming>, upstream: SocketAddr) -> Result<Response<Body>> {
    let stream = TcpStream::connect(upstream).await.context("reach the S3 server")?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    let response = sender.send_request(request).await?;
    let (parts, body) = response.into_parts();
    // Whole bodies: the connection to the server ends with this function.
    let body = body.collect().await?.to_bytes();
    let body = Full::new(body).map_err(|never: Infallible| match never {}).boxed();
    Ok(Response::from_parts(parts, body))
}
