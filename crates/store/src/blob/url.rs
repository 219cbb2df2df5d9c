//! Addresses of blob stores as an operator writes them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{S3Options, key};

/// Why text is no blob store address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobStoreUrlError {
    /// Neither `file:` nor `s3:`.
    #[error(
        "a blob store is file:///DIR or s3://BUCKET/PREFIX?endpoint=…&region=…&path_style=true"
    )]
    Scheme,
    /// Not an absolute path.
    #[error("the directory of file:// must be absolute, as in file:///var/lib/tandem/blobs")]
    Relative,
    /// Not a bucket name.
    #[error("\"{0}\" is not a bucket name (3-63 of a-z 0-9 . -)")]
    Bucket(String),
    /// Not a usable key prefix.
    #[error("\"{0}\" can't be the prefix of object keys (use A-Z a-z 0-9 . _ - and /)")]
    Prefix(String),
    /// An option we do not know.
    #[error("unknown option \"{0}\" of s3://: there are endpoint, region and path_style")]
    Option(String),
    /// An option's value is wrong.
    #[error("{option} can't be \"{value}\"")]
    Value {
        /// Which.
        option: &'static str,
        /// What was given.
        value: String,
    },
    /// Secrets do not belong into an address, which shows up in process lists and logs.
    #[error("no keys in the address: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile")]
    Credentials,
}

/// The address of a blob store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobStoreUrl {
    /// `memory:`, for tests: gone with the process.
    Memory,
    /// `file:///dir`.
    File(PathBuf),
    /// `s3://bucket/prefix?endpoint=…&region=…&path_style=true`.
    S3(S3Options),
}

impl FromStr for BlobStoreUrl {
    type Err = BlobStoreUrlError;

    fn from_str(text: &str) -> Result<Self, BlobStoreUrlError> {
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        if let Some(path) = text.strip_prefix("file://") {
            let path = decode(path);
            if !path.starts_with('/') || path.contains('\0') {
                return Err(BlobStoreUrlError::Relative);
            }
            return Ok(Self::File(path.into()));
        }
        let rest = text.strip_prefix("s3://").ok_or(BlobStoreUrlError::Scheme)?;
        parse_s3(rest).map(Self::S3)
    }
}

fn parse_s3(rest: &str) -> Result<S3Options, BlobStoreUrlError> {
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    if bucket.contains('@') {
        return Err(BlobStoreUrlError::Credentials);
    }
    let bucket_ok = (3..=63).contains(&bucket.len())
        && bucket
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b));
    if !bucket_ok {
        return Err(BlobStoreUrlError::Bucket(bucket.to_owned()));
    }
    let prefix = prefix.trim_matches('/');
    if !prefix.is_empty() && (key::check(prefix).is_err() || prefix.len() > 200) {
        return Err(BlobStoreUrlError::Prefix(prefix.to_owned()));
    }
    let mut options = S3Options {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        endpoint: None,
        region: None,
        path_style: false,
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value);
        match name {
            "endpoint" => options.endpoint = Some(endpoint(value)?),
            "region" => {
                let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
                if value.is_empty() || !value.bytes().all(fine) {
                    return Err(BlobStoreUrlError::Value { option: "region", value });
                }
                options.region = Some(value);
            }
            "path_style" => {
                options.path_style = match value.as_str() {
                    "true" | "1" | "" => true,
                    "false" | "0" => false,
                    _ => return Err(BlobStoreUrlError::Value { option: "path_style", value }),
                }
            }
            other => return Err(BlobStoreUrlError::Option(other.to_owned())),
        }
    }
    Ok(options)
}

fn endpoint(value: String) -> Result<String, BlobStoreUrlError> {
    let host = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://"));
    match host.map(|host| host.trim_end_matches('/')) {
        Some(host) if host.contains('@') => Err(BlobStoreUrlError::Credentials),
        Some(host) if !host.is_empty() && !host.contains(['?', '#', ' ']) => Ok(value),
        _ => Err(BlobStoreUrlError::Value { option: "endpoint", value }),
    }
}

/// Undoes percent-encoding; what is no encoding stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let decoded = digits
            .filter(|hex| bytes[at] == b'%' && hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(decoded.unwrap_or(bytes[at]));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

fn encode(text: &str, keep: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) || keep.contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

impl fmt::Display for BlobStoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::File(path) => write!(f, "file://{}", encode(&path.to_string_lossy(), b" ")),
            Self::S3(options) => {
                write!(f, "s3://{}", options.bucket)?;
                if !options.prefix.is_empty() {
                    write!(f, "/{}", options.prefix)?;
                }
                let mut parts = Vec::new();
                parts.extend(
                    options.endpoint.as_ref().map(|e| format!("endpoint={}", encode(e, b""))),
                );
                parts.extend(options.region.as_ref().map(|region| format!("region={region}")));
                parts.extend(options.path_style.then(|| "path_style=true".to_owned()));
                if !parts.is_empty() {
                    write!(f, "?{}", parts.join("&"))?;
                }
                Ok(())
            }
        }
    }
}
