//! The real agent binary, real PTYs and real files, with the node's end played by a test.

mod files;
mod life;
#[allow(dead_code)]
mod node;
mod streams;
mod terminals;
mod watch;
