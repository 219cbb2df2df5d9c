//! What the parts of Tandem say to each other: identifiers, paths, rights, limits and
//! message types. Nothing here does IO, spawns tasks or reads a clock.

pub mod agent;
pub mod api;
pub mod collab;
pub mod egress;
pub mod grant;
pub mod history;
pub mod id;
pub mod internal;
pub mod lib0;
pub mod limits;
pub mod live;
pub mod path;
pub mod problem;
pub mod role;

pub use grant::{Grant, GrantError, GrantSigner, GrantVerifier};
pub use id::{
    BootId, CheckpointId, Epoch, FileId, Generation, LinkId, Lsn, MemberId, NodeId, ReplId,
    SandboxId, TerminalId,
};
pub use path::{PathError, RelPath};
pub use role::Role;
