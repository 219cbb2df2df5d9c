//! Framing of the Hocuspocus protocol (`@hocuspocus/provider` 2–4), which `tandem.v1`
//! extends: `[address: varString][type: varUint]…`. The address is a document name,
//! optionally followed by `\0` and a session id, and replies repeat it unchanged.
//!
//! Only what a router must see is parsed here; documents are opaque to it.

use crate::lib0::{Lib0Error, Reader, write_var_string, write_var_uint};

/// Message types of the Hocuspocus protocol; see [`crate::live`] for those from 64 on.
pub mod kind {
    /// `[0 step1 | 1 step2 | 2 update][bytes]`.
    pub const SYNC: u64 = 0;
    /// `[awareness update: varBytes]`.
    pub const AWARENESS: u64 = 1;
    /// In: `[0][token: varString]`. Out: `[1][reason: varString]` or `[2][scope: varString]`.
    pub const AUTH: u64 = 2;
    /// Asks for all awareness states.
    pub const QUERY_AWARENESS: u64 = 3;
    /// Like [`SYNC`], but the receiver must not answer.
    pub const SYNC_REPLY: u64 = 4;
    /// Application message, ignored.
    pub const STATELESS: u64 = 5;
    /// Refused from clients.
    pub const BROADCAST_STATELESS: u64 = 6;
    /// The sender leaves this document.
    pub const CLOSE: u64 = 7;
    /// `[1 applied | 0 refused]`, once per step2 or update.
    pub const SYNC_STATUS: u64 = 8;
    /// One byte alone, without an address.
    pub const PING: u8 = 9;
    /// Answer to [`PING`].
    pub const PONG: u8 = 10;
}

/// Longest accepted address in bytes.
pub const MAX_ADDRESS_BYTES: usize = 2048;

/// The outside of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Keep-alive question.
    Ping,
    /// Keep-alive answer.
    Pong,
    /// A message for a document.
    Message {
        /// Document name with its session id, exactly as received.
        address: &'a str,
        /// See [`kind`].
        kind: u64,
        /// What follows the type.
        body: &'a [u8],
    },
}

/// Parses the outside of a frame.
///
/// # Errors
/// When the address or type is malformed or the address is over [`MAX_ADDRESS_BYTES`].
pub fn parse(bytes: &[u8]) -> Result<Frame<'_>, Lib0Error> {
    match bytes {
        [kind::PING] => return Ok(Frame::Ping),
        [kind::PONG] => return Ok(Frame::Pong),
        _ => {}
    }
    let mut reader = Reader::new(bytes);
    let address = reader.var_string()?;
    if address.len() > MAX_ADDRESS_BYTES {
        return Err(Lib0Error::TooLarge);
    }
    let kind = reader.var_uint()?;
    Ok(Frame::Message { address, kind, body: reader.rest() })
}

/// The document name within an address: everything before the session id.
pub fn document_name(address: &str) -> &str {
    address.split('\0').next().unwrap_or(address)
}

/// Starts a frame: address and type; append the body.
pub fn start(address: &str, kind: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(address.len() + 16);
    write_var_string(&mut out, address);
    write_var_uint(&mut out, kind);
    out
}

/// Reads the token of a client's [`kind::AUTH`] body.
///
/// # Errors
/// When the body is not `[0][token]`.
pub fn auth_token(body: &[u8]) -> Result<&str, Lib0Error> {
    let mut reader = Reader::new(body);
    if reader.var_uint()? != 0 {
        return Err(Lib0Error::TooLarge);
    }
    reader.var_string()
}

/// The answer to a refused token.
pub fn permission_denied(address: &str, reason: &str) -> Vec<u8> {
    let mut out = start(address, kind::AUTH);
    write_var_uint(&mut out, 1);
    write_var_string(&mut out, reason);
    out
}

/// The answer to an accepted token.
pub fn authenticated(address: &str, may_edit: bool) -> Vec<u8> {
    let mut out = start(address, kind::AUTH);
    write_var_uint(&mut out, 2);
    write_var_string(&mut out, if may_edit { "read-write" } else { "readonly" });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip() {
        assert_eq!(parse(&[9]), Ok(Frame::Ping));
        let mut bytes = start("repl/main.py\0s1", kind::SYNC);
        bytes.extend_from_slice(&[0, 1, 0]);
        let Ok(Frame::Message { address, kind, body }) = parse(&bytes) else {
            panic!("no message")
        };
        assert_eq!(document_name(address), "repl/main.py");
        assert_eq!((kind, body), (0, &[0u8, 1, 0][..]));
        let denied = permission_denied("a", "no");
        assert_eq!(denied, [1, b'a', 2, 1, 2, b'n', b'o']);
    }

    #[test]
    fn malformed_frames_are_errors() {
        assert!(parse(&[]).is_err());
        assert!(parse(&[200]).is_err());
        assert!(parse(&[5, b'a']).is_err());
        assert!(parse(&[1, 0xff, 0]).is_err());
    }
}
