//! The server's end of the launcher.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Mutex, PoisonError};

use tandem_proto::SandboxId;

use super::message::{Answer, Call, Received, Request, Response, receive_with, send};
use super::network::{NetworkAnswer, NetworkRequest, SUMS_AT_ONCE};
use crate::bubblewrap::tools::Tools;
use crate::driver::{Check, LaunchSpec, SandboxError};
use crate::egress::{Attached, Counts, EgressMode, Sums};
use crate::record::Record;

/// Asks the launcher, one request at a time. Its methods block.
#[derive(Debug)]
pub struct LauncherClient {
    connection: Mutex<Connection>,
    tools: Tools,
}

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    last_id: u64,
    /// Ends when the socket is closed.
    _process: Child,
}

impl LauncherClient {
    pub(super) fn new(socket: OwnedFd, process: Child, tools: Tools) -> Self {
        let connection = Connection { socket, last_id: 0, _process: process };
        Self { connection: Mutex::new(connection), tools }
    }

    /// What was found on this machine while the server was root.
    pub(crate) fn tools(&self) -> &Tools {
        &self.tools
    }

    pub(crate) fn prepare(&self, sandbox: SandboxId) -> Result<(), SandboxError> {
        self.done(Request::Prepare { sandbox })
    }

    pub(crate) fn make(&self, spec: &LaunchSpec) -> Result<Record, SandboxError> {
        let request = Request::Make {
            sandbox: spec.sandbox,
            repl: spec.repl,
            limits: spec.limits,
            env: spec.env.clone(),
        };
        match self.call(request)? {
            Response::Made(record) => Ok(*record),
            other => Err(unexpected(&other)),
        }
    }

    /// Whether all its processes are gone.
    pub(crate) fn kill(&self, sandbox: SandboxId) -> Result<bool, SandboxError> {
        match self.call(Request::Kill { sandbox })? {
            Response::Killed { is_empty } => Ok(is_empty),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) fn remove(&self, sandbox: SandboxId) -> Result<(), SandboxError> {
        self.done(Request::Remove { sandbox })
    }

    pub(crate) fn why(&self, sandbox: SandboxId) -> Result<String, SandboxError> {
        match self.call(Request::Why { sandbox })? {
            Response::Ended { reason } => Ok(reason),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) fn list(&self) -> Result<Vec<SandboxId>, SandboxError> {
        match self.call(Request::List)? {
            Response::Listed(sandboxes) => Ok(sandboxes),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) fn probe(&self) -> Result<Vec<Check>, SandboxError> {
        match self.call(Request::Probe)? {
            Response::Probed(checks) => Ok(checks),
            other => Err(unexpected(&other)),
        }
    }

    /// What is to be said of the sandboxes' network; nothing where there is to be none.
    ///
    /// # Errors
    /// When the launcher cannot be reached.
    pub fn egress_check(&self) -> Result<Option<Check>, SandboxError> {
        Ok(self.probe()?.into_iter().find(|check| check.name == "egress"))
    }

    /// The socket on which sandboxes ask for names.
    pub(crate) fn resolver_socket(&self) -> Result<UdpSocket, SandboxError> {
        let call = self.exchange(Request::Network(NetworkRequest::Resolver))?;
        match call {
            (Response::Network(NetworkAnswer::Resolver), descriptors) => {
                let socket = descriptors.into_iter().next();
                let socket =
                    socket.ok_or_else(|| SandboxError::Launcher("no socket came".into()))?;
                Ok(socket.into())
            }
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Plugs in the sandbox of a process.
    pub(crate) fn attach(
        &self,
        sandbox: SandboxId,
        process: i32,
        mode: EgressMode,
    ) -> Result<Attached, SandboxError> {
        match self.network(NetworkRequest::Attach { sandbox, process, mode })? {
            NetworkAnswer::Attached(attached) => Ok(attached),
            other => Err(unexpected(&Response::Network(other))),
        }
    }

    pub(crate) fn change_reach(
        &self,
        sandbox: SandboxId,
        mode: EgressMode,
        allowed: Vec<Ipv4Addr>,
    ) -> Result<(), SandboxError> {
        self.network(NetworkRequest::Change { sandbox, mode, allowed }).map(drop)
    }

    pub(crate) fn allow(
        &self,
        sandbox: SandboxId,
        addresses: Vec<Ipv4Addr>,
    ) -> Result<(), SandboxError> {
        self.network(NetworkRequest::Allow { sandbox, addresses }).map(drop)
    }

    /// How much passed of all sandboxes, and what each has for certain.
    pub(crate) fn sums(&self) -> Result<(Vec<(SandboxId, Sums)>, u64), SandboxError> {
        let mut all = Vec::new();
        loop {
            let after = all.last().map(|(sandbox, _)| *sandbox);
            match self.network(NetworkRequest::Sums { after })? {
                NetworkAnswer::Sums { sums, guaranteed } => {
                    let is_last = sums.len() < SUMS_AT_ONCE;
                    all.extend(sums);
                    if is_last {
                        return Ok((all, guaranteed));
                    }
                }
                other => return Err(unexpected(&Response::Network(other))),
            }
        }
    }

    pub(crate) fn count(&self, sandbox: SandboxId) -> Result<Counts, SandboxError> {
        match self.network(NetworkRequest::Count { sandbox })? {
            NetworkAnswer::Counted(counts) => Ok(counts),
            other => Err(unexpected(&Response::Network(other))),
        }
    }

    pub(crate) fn detach(&self, sandbox: SandboxId) -> Result<(), SandboxError> {
        self.network(NetworkRequest::Detach { sandbox }).map(drop)
    }

    fn network(&self, request: NetworkRequest) -> Result<NetworkAnswer, SandboxError> {
        match self.call(Request::Network(request))? {
            Response::Network(NetworkAnswer::Refused(reason)) => {
                Err(SandboxError::Launcher(reason))
            }
            Response::Network(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }

    fn done(&self, request: Request) -> Result<(), SandboxError> {
        match self.call(request)? {
            Response::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn call(&self, request: Request) -> Result<Response, SandboxError> {
        self.exchange(request).map(|(response, _)| response)
    }

    /// The answer and the descriptors that came with it.
    fn exchange(&self, request: Request) -> Result<(Response, Vec<OwnedFd>), SandboxError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection.last_id += 1;
        let id = connection.last_id;
        let broken = |error: io::Error| {
            SandboxError::Launcher(format!("it cannot be reached ({error}); restart the server"))
        };
        send(&connection.socket, &Call { id, request }).map_err(broken)?;
        loop {
            let (received, descriptors) =
                receive_with::<Answer>(&connection.socket).map_err(broken)?;
            match received {
                Received::Message(answer) if answer.id == id => {
                    return Ok((answer.response, descriptors));
                }
                // Of a call that was given up for taking too long.
                Received::Message(_) => {}
                Received::Malformed(error) => return Err(SandboxError::Launcher(error)),
                Received::End => {
                    return Err(SandboxError::Launcher("it has ended; restart the server".into()));
                }
            }
        }
    }
}

fn unexpected(response: &Response) -> SandboxError {
    match response {
        Response::Exists => SandboxError::Exists,
        Response::NotStarted(reason) => SandboxError::Start(reason.clone()),
        Response::Failed(reason) | Response::Network(NetworkAnswer::Refused(reason)) => {
            SandboxError::Launcher(reason.clone())
        }
        _ => SandboxError::Launcher("it answered something else".into()),
    }
}
