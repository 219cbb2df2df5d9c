//! How long this node may still act for a repl.
//!
//! A lease ends by whichever clock says so first: the boot-time clock, which goes on while a
//! machine is suspended, or the wall clock, which goes on while a VM is paused. Acking stops
//! [`MARGIN`] earlier.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tandem_proto::Epoch;

/// Safety distance between the last ack and the end of the lease.
pub const MARGIN: Duration = Duration::from_secs(2);

/// Milliseconds since the Unix epoch.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn boot_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    (time.tv_sec as u64).saturating_mul(1000).saturating_add(time.tv_nsec as u64 / 1_000_000)
}

#[derive(Debug)]
struct Ends {
    boot_ms: AtomicU64,
    wall_ms: AtomicU64,
}

/// A held lease; clones share the end.
#[derive(Debug, Clone)]
pub struct HeldLease {
    /// The epoch it was given for.
    pub epoch: Epoch,
    ends: Arc<Ends>,
}

impl HeldLease {
    /// A lease that lasts from now on. Take `now` before the request was sent.
    pub fn new(epoch: Epoch, lasts: Duration) -> Self {
        let ends = Ends { boot_ms: AtomicU64::new(0), wall_ms: AtomicU64::new(0) };
        let lease = Self { epoch, ends: Arc::new(ends) };
        lease.extend(lasts);
        lease
    }

    /// Moves the end to `lasts` from now.
    pub fn extend(&self, lasts: Duration) {
        let lasts = lasts.as_millis() as u64;
        self.ends.boot_ms.store(boot_ms() + lasts, Ordering::Release);
        self.ends.wall_ms.store(wall_ms() + lasts, Ordering::Release);
    }

    /// Ends it now.
    pub fn expire(&self) {
        self.ends.boot_ms.store(0, Ordering::Release);
    }

    /// Whether acks may still be given.
    pub fn may_ack(&self) -> bool {
        let margin = MARGIN.as_millis() as u64;
        boot_ms() + margin < self.ends.boot_ms.load(Ordering::Acquire)
            && wall_ms() + margin < self.ends.wall_ms.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_stop_before_the_lease_ends() {
        let lease = HeldLease::new(Epoch(1), Duration::from_secs(30));
        assert!(lease.may_ack());
        lease.extend(MARGIN);
        assert!(!lease.may_ack());
        lease.extend(Duration::from_secs(30));
        assert!(lease.may_ack());
        lease.expire();
        assert!(!lease.may_ack());
    }
}
