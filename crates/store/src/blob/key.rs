//! The shape of keys. A key that passes can be a path below a directory: it has no way out.

use super::BlobError;

const MAX_KEY_BYTES: usize = 900;
const MAX_PART_BYTES: usize = 200;

/// Checks an object's key.
pub(super) fn check(key: &str) -> Result<(), BlobError> {
    let invalid = |reason| Err(BlobError::InvalidKey { key: shown(key), reason });
    if key.is_empty() {
        return invalid("it is empty");
    }
    match key.split('/').all(|part| !part.is_empty()) {
        true => check_prefix(key),
        false => invalid("it has an empty part"),
    }
}

/// Checks the start of keys, which may end anywhere.
pub(super) fn check_prefix(prefix: &str) -> Result<(), BlobError> {
    let invalid = |reason| Err(BlobError::InvalidKey { key: shown(prefix), reason });
    if prefix.len() > MAX_KEY_BYTES {
        return invalid("it is too long");
    }
    let parts: Vec<&str> = prefix.split('/').collect();
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        if part.is_empty() && !last {
            return invalid("it has an empty part");
        }
        if part.starts_with('.') {
            return invalid("a part starts with a dot");
        }
        if part.len() > MAX_PART_BYTES {
            return invalid("a part is too long");
        }
        if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            return invalid("it has a character that is none of A-Z a-z 0-9 . _ -");
        }
    }
    Ok(())
}

/// Checks a folder: empty, or a prefix that ends in `/`.
pub(super) fn check_folder(prefix: &str) -> Result<(), BlobError> {
    if !prefix.is_empty() && !prefix.ends_with('/') {
        let reason = "a folder ends in a slash";
        return Err(BlobError::InvalidKey { key: shown(prefix), reason });
    }
    check_prefix(prefix)
}

fn shown(key: &str) -> String {
    key.chars().take(100).collect()
}
