//! Claims of epochs, and manifests outside the line of the head.
//!
//! The metadata database hands out epochs, but it may be lost, restored from an old backup, or not
//! be the only one. So each opening also puts its name under its epoch in the blob store, and owns
//! the epoch only when it then finds no other name there: of two that do this at once, at least
//! the later one sees both.

use serde::{Deserialize, Serialize};
use tandem_proto::{BootId, Epoch, NodeId};

use super::snapshots::SnapshotKey;
use super::{Manifest, ReplStore, parse_epoch, parse_manifest_key};
use crate::blob::ObjectInfo;
use crate::object::{self, ObjectError, ObjectKind};

/// Manifests outside the line of the head that are read at most.
const MAX_BRANCHES: usize = 64;

/// Who opened a repl at an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    node: NodeId,
    boot: BootId,
}

/// A manifest that the head does not descend from: somebody wrote it who had lost the repl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// What it says.
    pub manifest: Manifest,
    /// The last manifest of its line that the head descends from too, if it is still there.
    pub fork: Option<Box<Manifest>>,
}

/// What is stored of a repl beside one opening.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// The highest epoch that anybody has claimed.
    pub newest: Epoch,
    /// Snapshots of all other epochs.
    pub snapshots: Vec<SnapshotKey>,
    /// Manifests of earlier epochs outside the line.
    pub branches: Vec<Branch>,
}

impl ReplStore {
    /// Puts a name under an epoch. `false`: somebody else has done so too, take a higher one.
    ///
    /// # Errors
    /// See [`ObjectError`]; then nobody knows whether the name is there.
    pub async fn claim(
        &self,
        epoch: Epoch,
        node: NodeId,
        boot: BootId,
    ) -> Result<bool, ObjectError> {
        let folder = format!("{}e{epoch}/o/", self.folder());
        let key = format!("{folder}{}", object::suffix());
        let content = object::encode(&key, &Claim { node, boot })?;
        self.blobs.put(&key, object::pack(ObjectKind::Claim, content).await?).await?;
        let claims = self.blobs.list(&folder).await?;
        Ok(claims.iter().all(|claim| claim.key == key))
    }

    /// The nodes whose names are under an epoch.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn claimants(&self, epoch: Epoch) -> Result<Vec<NodeId>, ObjectError> {
        let mut nodes = Vec::new();
        for info in self.blobs.list(&format!("{}e{epoch}/o/", self.folder())).await? {
            let bytes = object::get(&*self.blobs, ObjectKind::Claim, &info.key).await?;
            nodes.push(object::decode::<Claim>(&info.key, &bytes)?.node);
        }
        Ok(nodes)
    }

    /// What openings at other epochs wrote, from one listing: who has opened the repl last, their
    /// snapshots, and the manifests of earlier epochs that are not in this line.
    ///
    /// # Errors
    /// See [`ObjectError`]. A corrupt manifest is left out: the head is whole without it.
    pub async fn beside(
        &self,
        own: Epoch,
        lineage: &[(Epoch, u64)],
    ) -> Result<Beside, ObjectError> {
        let listed = self.blobs.list(&format!("{}e", self.folder())).await?;
        let epochs = listed.iter().filter_map(|info| {
            parse_epoch(info.key.strip_prefix(self.folder())?.split_once('/')?.0)
        });
        let newest = epochs.max().unwrap_or_default();
        let snapshots = listed
            .iter()
            .filter_map(|info| SnapshotKey::parse(self.folder(), &info.key))
            .filter(|snapshot| snapshot.epoch != own)
            .collect();
        let branches = self.branches(&listed, own, lineage).await?;
        Ok(Beside { newest, snapshots, branches })
    }

    /// The branches among these, newest last. Of each epoch only the newest, which contains the
    /// others.
    async fn branches(
        &self,
        listed: &[ObjectInfo],
        own: Epoch,
        lineage: &[(Epoch, u64)],
    ) -> Result<Vec<Branch>, ObjectError> {
        let manifests: Vec<(Epoch, u64, &str)> = listed
            .iter()
            .filter_map(|info| {
                let (epoch, seq) = parse_manifest_key(self.folder(), &info.key)?;
                Some((epoch, seq, &*info.key))
            })
            .collect();
        let mut newest: Vec<(Epoch, u64, &str)> = Vec::new();
        for found in manifests
            .iter()
            .filter(|(epoch, seq, _)| *epoch < own && is_outside(lineage, *epoch, *seq))
        {
            match newest.iter_mut().find(|(epoch, _, _)| *epoch == found.0) {
                Some(slot) if slot.1 < found.1 => *slot = *found,
                Some(_) => {}
                None => newest.push(*found),
            }
        }
        newest.sort();
        let mut branches = Vec::new();
        for (_, _, key) in newest.into_iter().take(MAX_BRANCHES) {
            match self.get_manifest(key).await {
                Ok(manifest) => {
                    let fork = self.fork(lineage, &manifest, &manifests).await?;
                    branches.push(Branch { manifest, fork });
                }
                Err(error @ ObjectError::Corrupt { .. }) => {
                    tracing::error!(repl = %self.repl(), %error, "a manifest outside the line of the head is left out");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(branches)
    }

    /// Where a branch left the head's line: the newest manifest in that line which is not newer
    /// than what the branch began with.
    async fn fork(
        &self,
        lineage: &[(Epoch, u64)],
        branch: &Manifest,
        listed: &[(Epoch, u64, &str)],
    ) -> Result<Option<Box<Manifest>>, ObjectError> {
        let began = branch.lineage.last().map(|(epoch, seq)| (*epoch, *seq));
        let own = lineage.iter().find(|(epoch, _)| *epoch == branch.epoch).copied();
        let Some(at) = own.or(began) else { return Ok(None) };
        let Some((_, _, key)) = listed.iter().find(|(epoch, seq, _)| (*epoch, *seq) == at) else {
            return Ok(None);
        };
        match self.get_manifest(key).await {
            Ok(manifest) => Ok(Some(Box::new(manifest))),
            Err(ObjectError::Store(error)) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    /// Whether a key is a claim, and of which epoch.
    pub(super) fn claim_epoch(&self, key: &str) -> Option<Epoch> {
        let (epoch, rest) = key.strip_prefix(self.folder())?.split_once('/')?;
        rest.starts_with("o/").then(|| parse_epoch(epoch))?
    }
}

impl Manifest {
    /// The lineage of a manifest that follows this one in a later epoch.
    pub fn descend(&self) -> Vec<(Epoch, u64)> {
        let mut lineage = self.lineage.clone();
        lineage.retain(|(epoch, _)| *epoch != self.epoch);
        lineage.push((self.epoch, self.seq));
        let excess = lineage.len().saturating_sub(super::manifest::MAX_LINEAGE);
        lineage.drain(..excess);
        lineage
    }
}

/// Whether a manifest, by its epoch and number, is not in a line.
fn is_outside(lineage: &[(Epoch, u64)], epoch: Epoch, seq: u64) -> bool {
    // Before the lineage begins nothing is known, and nothing is assumed.
    let Some((first, _)) = lineage.first() else { return false };
    match lineage.iter().find(|(of, _)| *of == epoch) {
        Some((_, last)) => seq > *last,
        None => epoch > *first,
    }
}

/// Enters a merged branch into a lineage.
pub fn join_lineage(lineage: &mut Vec<(Epoch, u64)>, branch: &Manifest) {
    lineage.retain(|(epoch, _)| *epoch != branch.epoch);
    lineage.push((branch.epoch, branch.seq));
    lineage.sort();
}
