//! What root can give the sandboxes on this machine.

use std::path::Path;

use super::cgroup::Hierarchies;
use super::disk::Disks;
use crate::driver::{Check, Holds};
use crate::look::agent;

pub(super) fn probe(
    hierarchies: &Hierarchies,
    disks: &Result<Disks, String>,
    agent_path: &Path,
) -> Vec<Check> {
    let check = |name: &str, holds, detail: String| Check {
        name: name.into(),
        holds,
        detail,
        remedy: None,
        required: false,
    };
    let groups = match hierarchies.describe() {
        Some(found) => check("control-groups", Holds::Yes, found),
        None => check("control-groups", Holds::No, "no group can be made".into()).remedy(
            "Memory, CPU time and processes cannot be limited. In a container, mount \
             /sys/fs/cgroup writable with a cgroup namespace of its own; in a systemd unit, set \
             Delegate=yes.",
        ),
    };
    let images = match disks {
        Ok(_) => check("disk-images", Holds::Yes, "a filesystem of its own for each home".into()),
        Err(why) => check("disk-images", Holds::No, why.clone()).remedy(
            "The size of home folders is not limited. Install e2fsprogs and give the server \
             loop devices.",
        ),
    };
    vec![agent(agent_path), groups, images]
}
