//! Rights of a person on a repl.

use serde::{Deserialize, Serialize};

/// What a person may do on one repl. Ordered: each role may all that a lower one may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ts_rs::TS,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees everything, changes nothing.
    Viewer,
    /// Edits, runs, types into terminals.
    Editor,
    /// Also renames, shares, deletes.
    Owner,
}

impl Role {
    /// Whether edits, file changes, terminal input and Run are allowed.
    pub fn may_edit(self) -> bool {
        self >= Role::Editor
    }

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Editor => "editor",
            Role::Owner => "owner",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        match text {
            "viewer" => Ok(Role::Viewer),
            "editor" => Ok(Role::Editor),
            "owner" => Ok(Role::Owner),
            _ => Err(UnknownRole),
        }
    }
}

/// A role name that is not one of viewer, editor, owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is viewer, editor or owner")]
pub struct UnknownRole;
