use super::*;
use crate::scan::scan;
use crate::test_peer::hex;

fn verdict(update: &str, clocks: &[(u64, u32)]) -> Result<(), Held> {
    let mut known = Known::default();
    for &(client, clock) in clocks {
        known.advance(client, clock);
    }
    let update = hex(update);
    let scanned = scan(&update).map_err(Held::Malformed)?;
    admit(&scanned, &known).map(drop)
}

#[test]
fn what_is_needed_must_be_known() {
    // Client 11 at clock 3: one deleted unit after 10:4.
    let after = "01010b03810a040100";
    assert_eq!(verdict(after, &[(11, 3), (10, 5)]), Ok(()));
    assert_eq!(verdict(after, &[(11, 2), (10, 5)]), Err(Held::Gap));
    assert_eq!(verdict(after, &[(11, 3), (10, 4)]), Err(Held::Gap));
    assert_eq!(verdict(after, &[(11, 3)]), Err(Held::Gap));
    // Known blocks in front are fine.
    assert_eq!(verdict(after, &[(11, 9), (10, 5)]), Ok(()));
    // Deletion of 10:2..4.
    assert_eq!(verdict("00010a010202", &[(10, 4)]), Ok(()));
    assert_eq!(verdict("00010a010202", &[(10, 3)]), Err(Held::Gap));
    // A skipped range.
    assert_eq!(verdict("01020a000a0500010000", &[]), Err(Held::Malformed(ScanError::Trailing)));
    assert_eq!(verdict("01020a000a05000100", &[]), Err(Held::Gap));
}

#[test]
fn blocks_in_one_update_may_need_each_other_but_not_in_a_circle() {
    // 10:0 after 11:0, and 11:0 in the root.
    let fine = "0201 0a00 810b0001 010b 00 0107636f6e74656e74 01 00".replace(' ', "");
    assert!(verdict(&fine, &[]).is_err(), "the info byte of the second block is missing");
    let fine = "02010a00810b000101 0b00 01 0107636f6e74656e74 01 00".replace(' ', "");
    assert_eq!(verdict(&fine, &[]), Ok(()));
    // 10:0 after 11:0 after 10:0.
    let circle = "02010a00810b0001010b00810a000100";
    assert_eq!(verdict(circle, &[]), Err(Held::Malformed(ScanError::Circular)));
    // 10:0 after 11:1 where 11 ends at 1.
    let short = "02010a00810b0101010b000107636f6e74656e740100";
    assert!(verdict(short, &[]).is_err());
}

#[test]
fn a_long_chain_between_many_clients_takes_no_time() {
    // Client n builds on client n - 1; listed so that each waits for the next.
    let clients = 100_000u64;
    let mut known = Known::default();
    known.advance(0, 1);
    let mut scanned = Scan::default();
    for client in (1..=clients).rev() {
        let first = scanned.dependencies.len();
        let on = Id { client: client - 1, clock: 0 };
        scanned.dependencies.push(crate::scan::Dependency { clock: 0, on });
        let dependencies = first..first + 1;
        scanned.runs.push(crate::scan::Run { client, start: 0, end: 1, dependencies, marks: 0..0 });
    }
    let parts = admit(&scanned, &known).expect("can be ordered");
    assert_eq!(parts.len() as u64, clients);
    assert_eq!(scanned.runs[parts[0].run].client, 1);
    assert_eq!(admit(&scanned, &Known::default()), Err(Held::Gap));
}
