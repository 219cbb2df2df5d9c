//! Connections that the node asks for: terminals, TCP, archives.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tandem_proto::agent::{AgentError, Dial, StreamTarget, TransferEnd};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::dial::Agent;
use crate::frame::{self, FrameError};
use crate::terminal::{self, Terminal};
use crate::workspace;

/// How long a program may take to accept a connection on its own machine.
const CONNECT: Duration = Duration::from_secs(5);
/// Bytes copied at a time.
const COPY: usize = 32 * 1024;

enum Opened {
    Terminal(Arc<Terminal>, Option<u64>),
    Scrollback(Arc<Terminal>, Option<u64>),
    Tcp(TcpStream),
    Unpack,
    Pack(Vec<tandem_proto::RelPath>, Vec<String>),
}

/// Opens the target, dials the node and serves the stream until either side ends it.
pub async fn run(agent: Arc<Agent>, stream: u64, target: StreamTarget) {
    let opened = open(&agent, target).await;
    let (result, opened) = match opened {
        Ok(opened) => (Ok(()), Some(opened)),
        Err(error) => (Err(error), None),
    };
    // A node that cannot be dialled has gone; it asks again when it is back.
    let Ok(mut connection) = UnixStream::connect(agent.socket()).await else { return };
    let dialled = frame::write(&mut connection, &Dial::Stream { stream, result }).await;
    let (Ok(()), Some(opened)) = (dialled, opened) else { return };
    match opened {
        Opened::Terminal(terminal, from) => terminal::view(terminal, from, connection).await,
        Opened::Scrollback(terminal, known_end) => {
            terminal::scrollback(&terminal, known_end, connection).await;
        }
        Opened::Tcp(mut tcp) => {
            // Each direction ends on its own; an error ends both.
            let _ = tokio::io::copy_bidirectional_with_sizes(&mut tcp, &mut connection, COPY, COPY)
                .await;
        }
        Opened::Unpack => unpack(&agent, connection).await,
        Opened::Pack(paths, skip) => pack(&agent, paths, skip, connection).await,
    }
}

async fn open(agent: &Agent, target: StreamTarget) -> Result<Opened, AgentError> {
    match target {
        StreamTarget::Terminal { terminal, from } => {
            Ok(Opened::Terminal(agent.terminals().get(terminal)?, from))
        }
        StreamTarget::Scrollback { terminal, known_end } => {
            Ok(Opened::Scrollback(agent.terminals().get(terminal)?, known_end))
        }
        StreamTarget::Tcp { address, port } => connect(agent, address, port).await.map(Opened::Tcp),
        StreamTarget::Unpack => Ok(Opened::Unpack),
        StreamTarget::Pack { paths, skip } => Ok(Opened::Pack(paths, skip)),
    }
}

async fn connect(agent: &Agent, address: IpAddr, port: u16) -> Result<TcpStream, AgentError> {
    let is_listed =
        || agent.ports().known().iter().any(|known| known.address == address && known.port == port);
    if !address.is_loopback() && !is_listed() {
        return Err(AgentError::Invalid(format!("{address} is not an address of this sandbox")));
    }
    // A program may listen on one of the two loopbacks only.
    let other = match address {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => None,
    };
    for address in std::iter::once(address).chain(other) {
        let connecting = TcpStream::connect(SocketAddr::new(address, port));
        if let Ok(Ok(tcp)) = timeout(CONNECT, connecting).await {
            // Without it small answers may wait for others; the copy works all the same.
            let _ = tcp.set_nodelay(true);
            return Ok(tcp);
        }
    }
    Err(AgentError::Refused)
}

async fn unpack(agent: &Agent, connection: UnixStream) {
    let workspace = agent.workspace().clone();
    let Ok(reading) = blocking(connection) else { return };
    let Ok(mut answering) = reading.try_clone() else { return };
    let unpacked = tokio::task::spawn_blocking(move || {
        let result = workspace::unpack(&workspace, std::io::BufReader::new(reading));
        let end = frame::encode(&TransferEnd { result })?;
        std::io::Write::write_all(&mut answering, &end)?;
        Ok::<(), FrameError>(())
    });
    // The node sees the stream end without an answer if anything failed.
    let _ = unpacked.await;
}

async fn pack(
    agent: &Agent,
    paths: Vec<tandem_proto::RelPath>,
    skip: Vec<String>,
    connection: UnixStream,
) {
    let workspace = agent.workspace().clone();
    let Ok(writing) = blocking(connection) else { return };
    let packed = tokio::task::spawn_blocking(move || {
        let mut writing = std::io::BufWriter::with_capacity(64 * 1024, writing);
        workspace::pack(&workspace, paths, skip, &mut writing).is_ok()
            && std::io::Write::flush(&mut writing).is_ok()
    });
    // An archive without its end tells the node that it is not whole.
    let _ = packed.await;
}

fn blocking(connection: UnixStream) -> std::io::Result<std::os::unix::net::UnixStream> {
    let connection = connection.into_std()?;
    connection.set_nonblocking(false)?;
    Ok(connection)
}
