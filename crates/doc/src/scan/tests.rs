use super::*;
use crate::lib0::{write_bytes, write_number};
use crate::test_peer::{Peer, hex};

/// `[clients 1][blocks 1][client 1][clock][info]` and what follows.
fn one_block(clock: u64, info: u8, rest: &[u8]) -> Vec<u8> {
    let mut out = vec![1, 1, 1];
    write_number(&mut out, clock);
    out.push(info);
    out.extend_from_slice(rest);
    out
}

fn in_root(rest: &[u8]) -> Vec<u8> {
    let mut out = vec![1];
    write_bytes(&mut out, ROOT.as_bytes());
    out.extend_from_slice(rest);
    out
}

#[test]
fn an_honest_update_passes() {
    let peer = Peer::new(7);
    let scanned = scan(&peer.edit(0, 0, "a😀b")).expect("scans");
    assert_eq!(scanned.clients().collect::<Vec<_>>(), [(7, 0, 4)]);
    assert_eq!(scanned.text_units(), 4);
    let scanned = scan(&peer.edit(0, 1, "")).expect("scans");
    assert_eq!(scanned.deletions.len(), 1);
    assert_eq!(scan(&[0, 0]).expect("scans").clients().count(), 0);
}

#[test]
fn origins_of_other_clients_are_dependencies() {
    let (one, two) = (Peer::new(1), Peer::new(2));
    two.apply(&one.edit(0, 0, "ab"));
    let scanned = scan(&two.edit(1, 0, "x")).expect("scans");
    let on: Vec<_> = scanned.dependencies.iter().map(|d| (d.on.client, d.on.clock)).collect();
    assert_eq!(on, [(1, 0), (1, 1)]);
}

/// From the research before the build: applied without an error, and then every full encode
/// panicked.
#[test]
fn the_update_that_poisons_every_encode_is_refused() {
    assert!(scan(&hex("01010101d2843d0c440f00017100")).is_err());
}

#[test]
fn nested_values_that_overflow_the_stack_are_refused() {
    // Arrays of one array, 8,000 deep.
    let mut nested = vec![1];
    nested.extend([117, 1].repeat(8_000));
    nested.extend([126, 0]);
    let update = one_block(0, 8, &in_root(&nested));
    assert!(update.len() > 16_000);
    assert_eq!(scan(&update).err(), Some(ScanError::Content));
}

#[test]
fn counts_are_not_believed() {
    // Each makes yrs reserve hundreds of megabytes for six bytes.
    for bytes in ["ffffff0f0000", "01ffffff0f01", "000101ffffff0f", "00ffffff0f00"] {
        assert_eq!(scan(&hex(bytes)).err(), Some(ScanError::Count), "{bytes}");
    }
    assert_eq!(scan_state_vector(&hex("ffffff0f0000")), Err(ScanError::Count));
}

#[test]
fn malformed_updates_name_their_fault() {
    let text = in_root(b"\x01a");
    let cases: Vec<(Vec<u8>, ScanError)> = vec![
        (vec![], ScanError::Truncated),
        (vec![0], ScanError::Truncated),
        (vec![0, 0, 0], ScanError::Trailing),
        (vec![0x80, 0, 0], ScanError::Number),
        ([one_block((1 << 31) - 1, 4, &text), vec![0]].concat(), ScanError::Clock),
        ([one_block(1 << 31, 4, &text), vec![0]].concat(), ScanError::Number),
        ([one_block(5, 0, &hex("ffffffff07")), vec![0]].concat(), ScanError::Clock),
        ([one_block(0, 4, &in_root(&[1, 0xff])), vec![0]].concat(), ScanError::NotUtf8),
        ([one_block(0, 4, &in_root(&[0])), vec![0]].concat(), ScanError::Empty),
        ([one_block(0, 1, &in_root(&[0])), vec![0]].concat(), ScanError::Empty),
        ([one_block(0, 0, &[0]), vec![0]].concat(), ScanError::Empty),
        // Another root, a parent by id, a key of a map.
        ([one_block(0, 4, b"\x01\x07CONTENT\x01a"), vec![0]].concat(), ScanError::Parent),
        ([one_block(0, 4, &[0, 1, 0, 1, b'a']), vec![0]].concat(), ScanError::Parent),
        ([one_block(0, 0x24, &in_root(b"\x01k\x01a")), vec![0]].concat(), ScanError::Content),
        // Binary, embed, format, type, any, subdocument; an origin on a GC block; bit 5.
        ([one_block(0, 3, &in_root(&[1, 1])), vec![0]].concat(), ScanError::Content),
        ([one_block(0, 5, &in_root(b"\x021")), vec![0]].concat(), ScanError::Content),
        ([one_block(0, 6, &in_root(b"\x01b\x04true")), vec![0]].concat(), ScanError::Content),
        ([one_block(0, 7, &in_root(&[0])), vec![0]].concat(), ScanError::Content),
        ([one_block(0, 9, &in_root(&[0])), vec![0]].concat(), ScanError::Content),
        ([one_block(0, 0x80, &[2, 0, 1]), vec![0]].concat(), ScanError::Content),
        ([one_block(0, 0x14, &text), vec![0]].concat(), ScanError::Content),
        // On itself and on its own future.
        ([one_block(3, 0x84, &[1, 3, 1, b'a']), vec![0]].concat(), ScanError::Circular),
        ([one_block(3, 0x44, &[1, 9, 1, b'a']), vec![0]].concat(), ScanError::Circular),
        // A client id over 2^53.
        (hex("0101ffffffffffffff7f0004"), ScanError::Number),
        // The same client twice.
        (
            [vec![2], one_block(0, 0, &[1])[1..].to_vec(), vec![1, 1, 1, 0, 1, 0]].concat(),
            ScanError::DuplicateClient,
        ),
        (hex("00020101000101010000"), ScanError::DuplicateClient),
        (hex("0001010205010001"), ScanError::Unsorted),
        (hex("0001010200050301"), ScanError::Unsorted),
        (hex("000101010000"), ScanError::Empty),
        (hex("00010101ffffffff0701"), ScanError::Clock),
    ];
    for (update, fault) in cases {
        assert_eq!(scan(&update).err(), Some(fault), "{update:02x?}");
    }
}

#[test]
fn every_cut_of_an_honest_update_is_refused() {
    let peer = Peer::new(900_719_925_474_099);
    peer.edit(0, 0, "hello");
    let update = [peer.edit(2, 2, "wörld")].concat();
    for end in 0..update.len() {
        assert!(scan(&update[..end]).is_err(), "{end}");
    }
}
