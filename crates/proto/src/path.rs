//! Paths of files in a workspace.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits;

/// Why text is not a workspace path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing to name.
    #[error("the path is empty")]
    Empty,
    /// Over [`limits::MAX_PATH_BYTES`].
    #[error("the path is longer than {} bytes", limits::MAX_PATH_BYTES)]
    TooLong,
    /// More than [`limits::MAX_PATH_DEPTH`] folders deep.
    #[error("the path is more than {} folders deep", limits::MAX_PATH_DEPTH)]
    TooDeep,
    /// A component over 255 bytes, which no Linux filesystem holds.
    #[error("a part of the path is longer than 255 bytes")]
    PartTooLong,
    /// A leading slash.
    #[error("the path must be relative to the workspace")]
    Absolute,
    /// `.`, `..`, or an empty part (`a//b`).
    #[error("the path must not contain empty, '.' or '..' parts")]
    Dots,
    /// A NUL byte.
    #[error("the path contains a NUL character")]
    Nul,
    /// A control or direction-changing character in a name a person asked for.
    #[error("the name contains a control or text-direction character")]
    Control,
}

/// A path relative to the workspace: UTF-8, `/`-separated, no `.`/`..`/empty parts, no NUL,
/// at most [`limits::MAX_PATH_BYTES`] bytes and [`limits::MAX_PATH_DEPTH`] parts.
///
/// A `RelPath` is only a name. Who opens it must still refuse to follow links.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(String);

impl RelPath {
    /// Parses a path that already exists on a disk, so odd characters are allowed.
    ///
    /// # Errors
    /// See [`PathError`]; never [`PathError::Control`].
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.len() > limits::MAX_PATH_BYTES {
            return Err(PathError::TooLong);
        }
        if text.contains('\0') {
            return Err(PathError::Nul);
        }
        if text.starts_with('/') {
            return Err(PathError::Absolute);
        }
        let mut depth = 0;
        for part in text.split('/') {
            depth += 1;
            if part.is_empty() || part == "." || part == ".." {
                return Err(PathError::Dots);
            }
            if part.len() > 255 {
                return Err(PathError::PartTooLong);
            }
        }
        if depth > limits::MAX_PATH_DEPTH {
            return Err(PathError::TooDeep);
        }
        Ok(Self(text.to_owned()))
    }

    /// Parses a path that a person wants to create: also refuses control characters and
    /// bidirectional overrides, which make a name look like another.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn parse_new(text: &str) -> Result<Self, PathError> {
        let hostile = |c: char| {
            c.is_control()
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
        };
        if text.chars().any(|c| hostile(c) && c != '\0') {
            return Err(PathError::Control);
        }
        Self::parse(text)
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The folder that holds it; `None` at the top level.
    pub fn parent(&self) -> Option<RelPath> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// The parts from the top.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// This path with one more part.
    ///
    /// # Errors
    /// When `name` is not a single valid part or the result is too long or deep.
    pub fn join(&self, name: &str) -> Result<Self, PathError> {
        if name.contains('/') {
            return Err(PathError::Dots);
        }
        Self::parse(&format!("{}/{name}", self.0))
    }

    /// Whether one of these rules means it or a folder it lies in: a rule without a `/` is a name
    /// at any depth, another one a path from the top.
    pub fn is_named_by(&self, rules: &[String]) -> bool {
        rules.iter().any(|rule| match rule.contains('/') {
            false => self.parts().any(|part| part == rule),
            true => self
                .as_str()
                .strip_prefix(rule.trim_start_matches('/'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        })
    }

    /// Whether this is `folder` or lies under it.
    pub fn is_within(&self, folder: &RelPath) -> bool {
        self.0 == folder.0
            || (self.0.starts_with(&folder.0)
                && self.0.as_bytes().get(folder.0.len()) == Some(&b'/'))
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for RelPath {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_paths() {
        for good in
            ["a", "src/main.py", "with space/ä.txt", "%41", ".gitignore", "a..b", "...", "#x"]
        {
            let path = RelPath::parse(good).unwrap();
            assert_eq!(path.as_str(), good);
        }
        let path = RelPath::parse("a/b/c").unwrap();
        assert_eq!(path.name(), "c");
        assert_eq!(path.parent().unwrap().as_str(), "a/b");
        assert!(path.is_within(&RelPath::parse("a/b").unwrap()));
        assert!(!RelPath::parse("a/bc").unwrap().is_within(&RelPath::parse("a/b").unwrap()));
    }

    #[test]
    fn hostile_paths_name_their_fault() {
        let long = "x".repeat(5_000);
        let part = "x".repeat(256);
        let deep = vec!["d"; 65].join("/");
        let cases: Vec<(&str, PathError)> = vec![
            ("", PathError::Empty),
            ("/etc/passwd", PathError::Absolute),
            ("..", PathError::Dots),
            ("a/../b", PathError::Dots),
            ("a//b", PathError::Dots),
            ("a/", PathError::Dots),
            ("./a", PathError::Dots),
            ("a\0b", PathError::Nul),
            (&long, PathError::TooLong),
            (&part, PathError::PartTooLong),
            (&deep, PathError::TooDeep),
        ];
        for (text, want) in cases {
            assert_eq!(RelPath::parse(text), Err(want.clone()), "{text:.20}");
            assert_eq!(RelPath::parse_new(text), Err(want), "{text:.20}");
        }
        assert!(RelPath::parse("a\nb").is_ok());
        assert_eq!(RelPath::parse_new("a\nb"), Err(PathError::Control));
        assert_eq!(RelPath::parse_new("a\u{202e}b"), Err(PathError::Control));
    }

    proptest! {
        #[test]
        fn parse_never_panics_and_never_escapes(text in ".{0,300}") {
            if let Ok(path) = RelPath::parse(&text) {
                prop_assert!(path.parts().all(|part| !part.is_empty() && part != ".." && part != "."));
                prop_assert!(!path.as_str().starts_with('/'));
            }
        }
    }
}
