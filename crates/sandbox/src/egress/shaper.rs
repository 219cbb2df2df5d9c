//! The fair split, as text for `tc -batch`: of N sandboxes each has total/N for certain and may
//! borrow what the others leave idle.
//!
//! The same tree of classes is on the way out and on the way in. Which class a packet belongs to
//! is said by the packet filter. Classes are changed in place, so connections go on.

use std::fmt::Write as _;

use super::rules::{BRIDGE, Slot, UPLINK};

/// Both directions.
const DEVICES: [&str; 2] = [UPLINK, BRIDGE];
/// What belongs to no sandbox: answers of the resolver, refusals.
const OWN_CLASS: &str = "1:fffe";
/// A turn must be as long as the largest packet before segmentation: with less, whoever sends
/// small packets loses.
const QUANTUM_BYTES: u32 = 60_000;
/// A queue of one sandbox holds 20 ms of the line, and at least one packet before segmentation.
/// Longer ones only add to its own delay.
const QUEUE_PER_SECOND: u64 = 50;
const MIN_QUEUE_BYTES: u64 = 64 * 1024;
const MIN_BURST_BYTES: u64 = 64 * 1024;

/// How packets of one class wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    /// Fair among connections, and short.
    FlowQueues,
    /// A plain queue of bounded length, where the kernel has nothing better.
    Bytes,
}

/// The tree without sandboxes.
pub(super) fn base(total: u64) -> String {
    let mut text = String::new();
    let own = own_rate(total);
    for device in DEVICES {
        let burst = burst(total);
        let _ = write!(
            text,
            "qdisc replace dev {device} root handle 1: htb default fffe
class replace dev {device} parent 1: classid 1:1 htb rate {total}bit ceil {total}bit burst {burst} cburst {burst} quantum {QUANTUM_BYTES}
class replace dev {device} parent 1:1 classid {OWN_CLASS} htb rate {own}bit ceil {total}bit burst {burst} cburst {burst} quantum {QUANTUM_BYTES}
"
        );
    }
    text
}

/// What each of `count` sandboxes is guaranteed, in bits per second.
pub(super) fn share(total: u64, count: usize) -> u64 {
    (total - own_rate(total)) / (count.max(1) as u64)
}

/// Everyone's class, with the shares of as many as there are. `fresh` comes now.
pub(super) fn split(total: u64, slots: &[Slot], fresh: Option<(Slot, Queue)>) -> String {
    let share = share(total, slots.len());
    let mut text = String::new();
    for device in DEVICES {
        for slot in slots {
            let (class, burst) = (slot.class(), burst(total));
            let _ = writeln!(
                text,
                "class replace dev {device} parent 1:1 classid {class} htb rate {share}bit ceil {total}bit burst {burst} cburst {burst} quantum {QUANTUM_BYTES}"
            );
        }
        if let Some((slot, queue)) = fresh {
            let class = slot.class();
            let queue = match queue {
                Queue::FlowQueues => "fq_codel".to_owned(),
                Queue::Bytes => format!("bfifo limit {}", queue_bytes(total)),
            };
            let _ = writeln!(text, "qdisc replace dev {device} parent {class} {queue}");
        }
    }
    text
}

/// A sandbox's class goes; `slots` are those that stay.
pub(super) fn leave(total: u64, slot: Slot, slots: &[Slot]) -> String {
    let mut text = String::new();
    for device in DEVICES {
        let _ = writeln!(text, "class del dev {device} classid {}", slot.class());
    }
    text + &split(total, slots, None)
}

/// A little is the router's own.
fn own_rate(total: u64) -> u64 {
    (total / 400).max(8_000)
}

/// What may go at once: two milliseconds' worth, and at least one packet before segmentation.
fn burst(total: u64) -> u64 {
    (total / 8 / 500).max(MIN_BURST_BYTES)
}

fn queue_bytes(total: u64) -> u64 {
    (total / 8 / QUEUE_PER_SECOND).max(MIN_QUEUE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_equal_and_all_may_be_borrowed() {
        let slots: Vec<Slot> = (2..6).filter_map(Slot::new).collect();
        let text = split(100_000_000, &slots, Some((slots[3], Queue::Bytes)));
        assert_eq!(text.matches("rate 24937500bit ceil 100000000bit").count(), 8);
        assert_eq!(text.matches("parent 1:5 bfifo limit 250000").count(), 2);
        assert_eq!(share(100_000_000, 0), share(100_000_000, 1));
        let left = leave(100_000_000, slots[0], &slots[1..]);
        assert_eq!(left.matches("rate 33250000bit").count(), 6);
    }
}
