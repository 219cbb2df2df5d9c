//! Positions: what of which log is covered. Only ever compared within one boot of one node.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tandem_proto::{BootId, Lsn, NodeId};

/// For each start of each node, the last record that is covered. LSNs of two boots say nothing
/// about each other, so there is no order over positions, only this map.
pub type Positions = BTreeMap<(NodeId, BootId), Lsn>;

/// Raises `into` to at least `from`, boot by boot.
pub fn merge_positions(into: &mut Positions, from: &Positions) {
    for (boot, lsn) in from {
        let slot = into.entry(*boot).or_insert(*lsn);
        *slot = (*slot).max(*lsn);
    }
}

#[derive(Serialize, Deserialize)]
struct Entry {
    node: NodeId,
    boot: BootId,
    lsn: Lsn,
}

/// As a list of named entries: maps with compound keys exist in few formats.
pub(crate) fn serialize<S: Serializer>(
    positions: &Positions,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(positions.iter().map(|(&(node, boot), &lsn)| Entry { node, boot, lsn }))
}

/// See [`serialize`].
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Positions, D::Error> {
    let entries = Vec::<Entry>::deserialize(deserializer)?;
    Ok(entries.into_iter().map(|entry| ((entry.node, entry.boot), entry.lsn)).collect())
}

#[derive(Serialize, Deserialize)]
struct Wrapped(#[serde(with = "crate::position")] Positions);

pub(crate) fn to_bytes(positions: &Positions) -> Option<Vec<u8>> {
    rmp_serde::to_vec_named(&Wrapped(positions.clone())).ok()
}

pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Positions> {
    rmp_serde::from_slice::<Wrapped>(bytes).ok().map(|wrapped| wrapped.0)
}
