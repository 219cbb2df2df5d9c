//! The sandboxes' network, as far as it takes root's rights.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};
use tandem_proto::SandboxId;

use super::message::{
    Answer, Call, NetworkSetup, Received, Request, Response, receive, send, send_with,
};
use crate::driver::{Check, Holds};
use crate::egress::{Attached, Counts, EgressError, EgressMode, Router, RouterSettings, Sums};

/// As many fit into an answer.
pub(super) const SUMS_AT_ONCE: usize = 700;

/// What the server may ask of the network.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) enum NetworkRequest {
    /// The socket on which sandboxes ask for names.
    Resolver,
    /// Plug in the sandbox of a process.
    Attach { sandbox: SandboxId, process: i32, mode: EgressMode },
    /// Change what it may reach.
    Change { sandbox: SandboxId, mode: EgressMode, allowed: Vec<std::net::Ipv4Addr> },
    /// More addresses of its allow list.
    Allow { sandbox: SandboxId, addresses: Vec<std::net::Ipv4Addr> },
    /// How much passed of all, a part at a time.
    Sums { after: Option<SandboxId> },
    /// What passed of it.
    Count { sandbox: SandboxId },
    /// Unplug it.
    Detach { sandbox: SandboxId },
}

/// What comes of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum NetworkAnswer {
    Done,
    /// The socket comes along.
    Resolver,
    Attached(Attached),
    Sums {
        sums: Vec<(SandboxId, Sums)>,
        guaranteed: u64,
    },
    Counted(Counts),
    /// In words.
    Refused(String),
}

/// Whether there is one.
#[derive(Debug)]
pub(super) enum Network {
    /// Not asked for.
    Off,
    /// Asked for, and this machine lacks something.
    Missing(EgressError),
    On(Box<Router>),
}

impl Network {
    pub(super) fn open(settings: Option<&RouterSettings>) -> Self {
        match settings.map(|settings| Router::open(settings.clone())) {
            None => Self::Off,
            Some(Ok(router)) => Self::On(Box::new(router)),
            Some(Err(error)) => Self::Missing(error),
        }
    }

    pub(super) fn is_on(&self) -> bool {
        matches!(self, Self::On(_))
    }

    /// For `tandem doctor`.
    pub(super) fn check(&self) -> Option<Check> {
        let check = |holds, detail| Check {
            name: "egress".into(),
            holds,
            detail,
            remedy: None,
            required: false,
        };
        Some(match self {
            Self::Off => return None,
            Self::On(router) if router.is_total_assumed() => {
                check(Holds::Partly, router.describe())
                    .remedy("Say how fast the line is with --egress-mbit.")
            }
            Self::On(router) => check(Holds::Yes, router.describe()),
            Self::Missing(EgressError::Unusable { problem, remedy }) => {
                check(Holds::No, format!("sandboxes have no network: {problem}")).remedy(remedy)
            }
            Self::Missing(error) => check(Holds::No, format!("sandboxes have no network: {error}"))
                .remedy(
                    "It takes root's rights over network namespaces, veth, bridge, nftables and \
                     HTB.",
                ),
        })
    }

    /// Answers, and says what goes along.
    pub(super) fn answer(&mut self, request: NetworkRequest) -> (NetworkAnswer, Vec<OwnedFd>) {
        let Self::On(router) = self else {
            return (NetworkAnswer::Refused("sandboxes have no network here".into()), Vec::new());
        };
        if let NetworkRequest::Resolver = request {
            return match router.resolver_socket() {
                Ok(socket) => (NetworkAnswer::Resolver, vec![socket.into()]),
                Err(error) => (NetworkAnswer::Refused(error.to_string()), Vec::new()),
            };
        }
        let answer = match request {
            NetworkRequest::Resolver => Ok(NetworkAnswer::Done),
            NetworkRequest::Attach { sandbox, process, mode } => namespace_of(process)
                .and_then(|target| router.attach(sandbox, &target, mode))
                .map(NetworkAnswer::Attached),
            NetworkRequest::Change { sandbox, mode, allowed } => {
                router.change(sandbox, mode, &allowed).map(|()| NetworkAnswer::Done)
            }
            NetworkRequest::Allow { sandbox, addresses } => {
                router.allow(sandbox, &addresses).map(|()| NetworkAnswer::Done)
            }
            NetworkRequest::Sums { after } => {
                let guaranteed = router.guaranteed();
                router
                    .sums(after, SUMS_AT_ONCE)
                    .map(|sums| NetworkAnswer::Sums { sums, guaranteed })
            }
            NetworkRequest::Count { sandbox } => router.counts(sandbox).map(NetworkAnswer::Counted),
            NetworkRequest::Detach { sandbox } => {
                router.detach(sandbox);
                Ok(NetworkAnswer::Done)
            }
        };
        let answer = answer.unwrap_or_else(|error| NetworkAnswer::Refused(error.to_string()));
        (answer, Vec::new())
    }

    /// A sandbox is gone.
    pub(super) fn forget(&mut self, sandbox: SandboxId) {
        if let Self::On(router) = self {
            router.detach(sandbox);
        }
    }
}

/// Serves the network alone, until the server closes its end.
///
/// # Errors
/// When the socket fails.
pub(super) fn serve(socket: BorrowedFd<'_>, setup: &NetworkSetup) -> io::Result<()> {
    let mut network = Network::open(Some(&setup.egress));
    // Without one there is still the word on what is missing.
    send(socket, &Answer { id: 0, response: Response::Done })?;
    loop {
        let (id, request) = match receive::<Call>(socket)? {
            Received::Message(Call { id, request }) => (id, request),
            Received::Malformed(error) => {
                let response = Response::Failed(format!("not a request: {error}"));
                send(socket, &Answer { id: 0, response })?;
                continue;
            }
            Received::End => return Ok(()),
        };
        let (response, descriptors) = match request {
            Request::Network(request) => {
                let (answer, descriptors) = network.answer(request);
                (Response::Network(answer), descriptors)
            }
            Request::Probe => (Response::Probed(network.check().into_iter().collect()), Vec::new()),
            _ => (Response::Failed("this launcher makes no sandboxes".into()), Vec::new()),
        };
        send_with(socket, &Answer { id, response }, &borrowed(&descriptors))?;
    }
}

/// The router refuses what is not a new network.
fn namespace_of(pid: i32) -> Result<OwnedFd, EgressError> {
    let open = File::open(format!("/proc/{pid}/ns/net"));
    open.map(OwnedFd::from).map_err(EgressError::io("cannot find the sandbox's network"))
}

/// Descriptors to send along.
pub(super) fn borrowed(descriptors: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    descriptors.iter().map(OwnedFd::as_fd).collect()
}
