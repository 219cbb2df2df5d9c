//! Drives the product from outside, as people and programs do: the real `tandem` program on a
//! free port, a typed HTTP client, and raw clients of the three document protocols, written apart
//! from the server's own code so that one cannot hide the other's mistake.
//!
//! Nothing here sleeps for a fixed time: everything waits for a condition, under a limit.

mod api;
mod clock;
mod collab;
mod docker;
mod fault;
mod history;
mod live;
mod preview;
mod process;
mod replica;
mod s3;
mod server;
mod swarm;
mod terminal;
mod wait;
mod websocket;
mod ywebsocket;

pub use api::{Api, Refused};
pub use clock::JumpingClock;
pub use collab::{CollabEvent, CollabSocket};
pub use docker::{DockerDaemon, IMAGE as DOCKER_IMAGE};
pub use fault::{Counts, Fault, FaultProxy, Scope};
pub use history::{Replay, ReplayFrame};
pub use live::{LiveDocument, LiveSocket};
pub use preview::Preview;
pub use process::machine;
pub use replica::Replica;
pub use s3::S3Server;
pub use server::{Options, Server, Stopped};
pub use swarm::{SwarmOptions, SwarmReport, swarm};
pub use terminal::TerminalSocket;
pub use wait::{LIMIT, eventually, within};
pub use websocket::{Closed, Socket};
pub use ywebsocket::{YMessage, YSocket};
