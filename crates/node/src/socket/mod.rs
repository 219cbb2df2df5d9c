//! WebSockets: documents by three protocols, and terminals.

pub mod documents;
pub mod outbox;
pub mod protocol;
mod restored;
pub mod terminal;
