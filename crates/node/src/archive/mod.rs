//! Archives: tar between server and agent, zip between server and people.

pub mod tar;
pub mod zip;
