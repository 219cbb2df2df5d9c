//! The real agent binary, real PTYs and real files, with the node's end played by a test.

mod files;
#[allow(dead_code)]
mod node;
mod terminals;
