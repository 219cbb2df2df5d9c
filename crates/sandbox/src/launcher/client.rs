//! The server's end of the launcher.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Mutex, PoisonError};

use tandem_proto::SandboxId;

use super::message::{Answer, Call, Received, Request, Response, receive, send};
use crate::bubblewrap::tools::Tools;
use crate::driver::{Check, LaunchSpec, SandboxError};
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

    fn done(&self, request: Request) -> Result<(), SandboxError> {
        match self.call(request)? {
            Response::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn call(&self, request: Request) -> Result<Response, SandboxError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection.last_id += 1;
        let id = connection.last_id;
        let broken = |error: io::Error| {
            SandboxError::Launcher(format!("it cannot be reached ({error}); restart the server"))
        };
        send(&connection.socket, &Call { id, request }).map_err(broken)?;
        loop {
            match receive::<Answer>(&connection.socket).map_err(broken)? {
                Received::Message(answer) if answer.id == id => return Ok(answer.response),
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
        Response::Failed(reason) => SandboxError::Launcher(reason.clone()),
        _ => SandboxError::Launcher("it answered something else".into()),
    }
}
