//! User ids for sandboxes: one each, so that what the kernel counts by user is counted by sandbox.

use std::fs;

use crate::driver::SandboxError;

/// First and number of the user ids for sandboxes; no person and no service has them.
pub(crate) const SANDBOX_UIDS: (u32, u32) = (200_000, 10_000);

/// Gives out user ids in turn.
#[derive(Debug)]
pub(crate) struct Uids {
    first: u32,
    count: u32,
    next: u32,
}

impl Uids {
    pub(crate) fn new((first, count): (u32, u32)) -> Self {
        // Sandboxes of different servers on one machine should not meet at the first one.
        let spread = std::process::id() % count.max(1);
        Self { first, count, next: first + spread }
    }

    /// A user id that nothing on this machine runs under.
    pub(crate) fn free(&mut self) -> Result<u32, SandboxError> {
        use std::os::unix::fs::MetadataExt;
        let mut taken = Vec::new();
        for entry in fs::read_dir("/proc").map_err(SandboxError::io("cannot look at /proc"))? {
            let Ok(entry) = entry else { continue };
            let name = entry.file_name();
            let is_process = name.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit);
            if let (true, Ok(found)) = (is_process, entry.metadata()) {
                taken.push(found.uid());
            }
        }
        for _ in 0..self.count {
            let uid = self.next;
            self.next = self.first + (uid - self.first + 1) % self.count;
            if !taken.contains(&uid) {
                return Ok(uid);
            }
        }
        Err(SandboxError::Start("all user ids for sandboxes are taken".into()))
    }
}
