//! The nodes web can reach, and the two ways to reach one: a whole request, or a byte stream
//! for a client-side WebSocket. In one process both end in the node's router; a node on
//! another machine is a second implementation of [`NodeLink`].

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tandem_proto::NodeId;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt as _;

/// Bytes in flight between web and a node in the same process, in each direction.
const PIPE_BYTES: usize = 64 * 1024;

/// Why a node did not answer.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// No node is registered.
    #[error("no node is there to run repls")]
    NoNode,
    /// The connection failed.
    #[error("the node could not be reached: {0}")]
    Unreachable(String),
    /// It answered, but not as agreed.
    #[error("the node answered with status {status}: {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The detail of its problem document, or nothing.
        detail: String,
    },
}

/// A byte stream to a node.
pub trait NodeStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> NodeStream for T {}

/// A way to one node.
#[async_trait]
pub trait NodeLink: Send + Sync + 'static {
    /// Hands a request over. Upgrades and streaming bodies pass through.
    ///
    /// # Errors
    /// When the node cannot be reached.
    async fn call(&self, request: Request<Body>) -> Result<Response<Body>, NodeError>;

    /// Opens a byte stream on which the node serves HTTP/1.1.
    ///
    /// # Errors
    /// When the node cannot be reached.
    async fn connect(&self) -> Result<Box<dyn NodeStream>, NodeError>;
}

/// The nodes and the ways to them.
#[derive(Clone)]
pub struct NodeDirectory {
    nodes: Arc<[(NodeId, Arc<dyn NodeLink>)]>,
}

impl fmt::Debug for NodeDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.nodes.iter().map(|(id, _)| id)).finish()
    }
}

impl NodeDirectory {
    /// The one node in this process.
    pub fn in_process(node: NodeId, router: Router) -> Self {
        Self { nodes: Arc::new([(node, Arc::new(InProcess { router }))]) }
    }

    /// The node that should serve a repl: the one that holds or last held it, when it is
    /// there; else any.
    ///
    /// # Errors
    /// [`NodeError::NoNode`].
    pub(crate) fn place(
        &self,
        last: Option<NodeId>,
    ) -> Result<(NodeId, Arc<dyn NodeLink>), NodeError> {
        let found = self
            .nodes
            .iter()
            .find(|(id, _)| Some(*id) == last)
            .or_else(|| self.nodes.first())
            .ok_or(NodeError::NoNode)?;
        Ok((found.0, Arc::clone(&found.1)))
    }

    /// All nodes.
    pub(crate) fn all(&self) -> impl Iterator<Item = (NodeId, Arc<dyn NodeLink>)> + '_ {
        self.nodes.iter().map(|(id, link)| (*id, Arc::clone(link)))
    }
}

struct InProcess {
    router: Router,
}

#[async_trait]
impl NodeLink for InProcess {
    async fn call(&self, request: Request<Body>) -> Result<Response<Body>, NodeError> {
        match self.router.clone().oneshot(request).await {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        }
    }

    async fn connect(&self) -> Result<Box<dyn NodeStream>, NodeError> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let service = TowerToHyperService::new(self.router.clone());
        let server = tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(far), service)
                .with_upgrades();
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a stream to the node in this process ended early");
            }
        });
        Ok(Box::new(Pipe { near, _server: AbortOnDropHandle::new(server) }))
    }
}

/// The near end of a pipe, which ends its far end with it.
struct Pipe {
    near: DuplexStream,
    _server: AbortOnDropHandle<()>,
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.near).poll_read(context, buffer)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.near).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.near).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.near).poll_shutdown(context)
    }
}
