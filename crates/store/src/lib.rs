//! What outlives a process: the node's write-ahead log, blob stores, and the objects in them
//! (snapshots, manifests, blobs, catalogue records, templates). Knows no rooms and no sandboxes.
//!
//! The invariant of everything here: stored bytes are immutable, carry a magic, a version and a
//! checksum, and unknown, missing or corrupt ones are a typed error, never an empty result.

pub mod alive;
pub mod backup;
pub mod blob;
pub mod check;
mod data_dir;
mod hash;
pub mod log;
mod object;
mod position;
mod repl;
pub mod ship;
mod template;

pub use blob::{BlobError, BlobErrorKind, BlobStore, BlobStoreUrl, ObjectInfo};
pub use data_dir::{DataDir, DataDirError};
pub use hash::{ContentHash, NoContentHash};
pub use log::{
    Damage, Log, LogError, LogOptions, LogState, NewRecord, Record, RecordKind, Replay, Suspects,
};
pub use object::{MAX_OBJECT_BYTES, ObjectError};
pub use position::{Positions, merge_positions};
pub use repl::{
    Authors, Beside, BlobReader, BlobRef, Branch, Catalogue, CatalogueRecord, Content, Eol, Grain,
    Head, HistoryPack, Manifest, NewSnapshot, NodeKind, PackedBase, PackedEdit, PackedFile,
    ReplStore, Snapshot, SnapshotIndex, SnapshotKey, Snapshots, StoredCheckpoint, StoredDocument,
    StoredFolder, StoredLink, StoredMember, StoredPack, StoredRun, StoredTerminal, Swept, TreeNode,
    WrittenRun, join_lineage, list_repls, load_catalogue,
};
pub use template::{
    MAX_TEMPLATE_BYTES, MAX_TEMPLATE_FILES, Seeded, Template, TemplateError, TemplateFile,
    TemplateManifest, Templates,
};
