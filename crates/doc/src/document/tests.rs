use proptest::prelude::*;

use super::*;
use crate::lib0::write_number;
use crate::test_peer::{Peer, hex};

#[test]
fn an_edit_is_new_once_and_known_after() {
    let mut document = Document::new(1);
    let peer = Peer::new(2);
    let update = peer.edit(0, 0, "hi 😀");
    assert_eq!(document.is_known(&update), Ok(false));
    assert_eq!(document.new_authors(&update), Ok(vec![2]));
    assert_eq!(document.apply(&update), Ok(Applied::New));
    assert_eq!(document.apply(&update), Ok(Applied::Known));
    assert_eq!(document.is_known(&update), Ok(true));
    assert_eq!(document.new_authors(&update), Ok(vec![]));
    assert_eq!((document.text().as_str(), document.len_utf16()), ("hi 😀", 5));
    let deletion = peer.edit(0, 3, "");
    assert_eq!(document.is_known(&deletion), Ok(false));
    assert_eq!(document.apply(&deletion), Ok(Applied::New));
    assert_eq!(document.is_known(&deletion), Ok(true));
    assert_eq!(document.text(), "😀");
    // What a peer with the same content would send as step 2 is known.
    assert_eq!(document.is_known(&peer.diff(&document.state_vector())), Ok(true));
    assert_eq!(document.is_known(&peer.diff(&[0])), Ok(true));
}

#[test]
fn an_update_with_a_gap_changes_nothing() {
    let mut document = Document::new(1);
    let peer = Peer::new(2);
    let first = peer.edit(0, 0, "a");
    let second = peer.edit(1, 0, "b");
    assert_eq!(document.apply(&second), Err(Rejected::Gap));
    assert_eq!(document.text(), "");
    assert_eq!(document.state_vector(), [0]);
    assert_eq!(document.apply(&first), Ok(Applied::New));
    assert_eq!(document.apply(&second), Ok(Applied::New));
    assert_eq!(document.text(), "ab");
}

/// Honest updates in an order in which plain yrs gives a wrong text; Yjs gives `"\na\na"`.
#[test]
fn the_order_that_plain_yrs_gets_wrong_is_right_through_the_gate() {
    let updates = [
        "01010a02c40b000a00010a00",
        "01010b00440a00016100",
        "01010a00040107636f6e74656e74016100",
        "01010a01440a00010a00",
    ]
    .map(hex);
    let mut document = Document::new(1);
    let outcomes = updates.each_ref().map(|update| document.apply(update));
    assert_eq!(outcomes[0], Err(Rejected::Gap));
    assert_eq!(outcomes[1], Err(Rejected::Gap));
    // The peer answers step 1 with what was held back; here by sending all again.
    for _ in 0..updates.len() {
        for update in &updates {
            let _ = document.apply(update);
        }
    }
    assert_eq!(document.text(), "\na\na");
}

#[test]
fn states_and_differences_bring_others_up_to_date() {
    let mut document = Document::new(1);
    document.replace("one\ntwo\n").expect("replaces").expect("changes");
    let peer = Peer::new(2);
    peer.apply(&document.encode_state().expect("encodes"));
    assert_eq!(peer.text(), "one\ntwo\n");
    let before = peer.state_vector();
    let update = document.replace("one\n2\n").expect("replaces").expect("changes");
    assert_eq!(document.replace("one\n2\n"), Ok(None));
    peer.apply(&document.encode_diff(&before).expect("encodes"));
    assert_eq!(peer.text(), "one\n2\n");
    let copy = Document::load(3, &document.encode_state().expect("encodes")).expect("loads");
    assert_eq!(copy.text(), "one\n2\n");
    assert_eq!(copy.state_vector(), document.state_vector());
    assert_eq!(copy.is_known(&update), Ok(true));
}

#[test]
fn hostile_state_vectors_are_safe() {
    let mut document = Document::new(1);
    document.replace("a😀b").expect("replaces");
    for clock in 0..9 {
        // Also in the middle of the surrogate pair.
        assert!(document.encode_diff(&[1, 1, clock]).is_ok());
    }
    for bytes in ["", "ffffff0f", "01", "0101", "010100ff", "02010001", "0201000100"] {
        assert!(document.encode_diff(&hex(bytes)).is_err(), "{bytes}");
    }
    assert!(document.encode_diff(&hex("01ffffffffffffff0f00")).is_ok());
}

#[test]
fn nobody_writes_in_the_servers_name() {
    let mut document = Document::new(2);
    let forger = Peer::new(2);
    let update = forger.edit(0, 0, "x");
    assert_eq!(document.apply(&update), Err(Rejected::Malformed(ScanError::Forged)));
    // Nor may the server's id be used again for a document that knows it.
    assert!(Document::load(2, &update).is_err());
    assert!(Document::load(3, &update).is_ok());
}

#[test]
fn what_no_file_could_give_back_is_normalized() {
    let mut document = Document::new(1);
    let peer = Peer::new(2);
    document.apply(&peer.edit(0, 0, "a\n")).expect("applies");
    assert!(!document.needs_normalizing());
    document.apply(&peer.edit(2, 0, "b\r\nc\rd\0")).expect("applies");
    assert!(document.needs_normalizing());
    let update = document.normalize().expect("normalizes").expect("changes");
    assert_eq!(document.text(), "a\nb\nc\nd");
    assert!(!document.needs_normalizing());
    assert_eq!(document.normalize(), Ok(None));
    peer.apply(&update);
    assert_eq!(peer.text(), document.text());
}

#[test]
fn limits_hold_clients_but_not_stored_work() {
    let mut document = Document::new(1);
    let peer = Peer::new(2);
    let text = "x".repeat(MAX_TEXT_UNITS as usize + 1);
    let update = peer.edit(0, 0, &text);
    assert_eq!(document.apply(&update), Err(Rejected::TooLarge));
    assert_eq!(document.merge_stored(&update), Ok(Applied::New));
    assert_eq!(document.apply(&vec![0; MAX_UPDATE_BYTES + 1]), Err(Rejected::TooLarge));
}

/// A client that was offline: many blocks and deletions, spread over the text.
fn offline_work() -> (Document, Peer, Vec<u8>) {
    let mut document = Document::new(1);
    document.replace(&"line 😀\n".repeat(300)).expect("seeds");
    let other = Peer::new(7);
    other.apply(&document.encode_state().expect("encodes"));
    document.apply(&other.edit(30, 3, "other")).expect("applies");
    let peer = Peer::new(900);
    peer.apply(&document.encode_state().expect("encodes"));
    for place in (0..2_000).step_by(9) {
        peer.edit(place, 2, "x");
        if place % 2 == 0 {
            let state = peer.diff(&other.state_vector());
            other.apply(&state);
            peer.apply(&other.edit(place + 3, 1, "😀"));
        }
    }
    let update = peer.diff(&document.state_vector());
    (document, peer, update)
}

#[test]
fn a_large_update_in_pieces_is_the_same_update() {
    let (mut whole, peer, update) = offline_work();
    let mut pieces = Document::load(3, &whole.encode_state().expect("encodes")).expect("loads");
    assert_eq!(whole.apply(&update), Ok(Applied::New));
    let mut asked = 0;
    let applied = pieces.apply_within(&update, || {
        asked += 1;
        true
    });
    assert_eq!(applied, Ok(Applied::New));
    assert!(asked > 100, "asked {asked} times");
    assert_eq!(pieces.text(), peer.text());
    assert_eq!(pieces.text(), whole.text());
    assert_eq!(pieces.state_vector(), whole.state_vector());
    assert_eq!(pieces.encode_verified(), pieces.encode_state().map_err(|_| Unstorable::Broken));
    assert_eq!(pieces.apply_within(&update, || false), Ok(Applied::Known));
    // It goes on as before.
    let next = pieces.replace("new").expect("replaces").expect("changes");
    peer.apply(&next);
    assert_eq!(peer.text(), "new");
    assert_eq!(pieces.apply_within(&peer.edit(0, 1, "N"), || false), Ok(Applied::New));
}

#[test]
fn a_stopped_update_changes_nothing() {
    let (mut document, peer, update) = offline_work();
    let before = (document.text(), document.state_vector());
    for stop_after in [0, 1, 5, 40] {
        let mut left = stop_after;
        let applied = document.apply_within(&update, || {
            left -= 1;
            left >= 0
        });
        assert_eq!(applied, Err(Rejected::TooLarge));
        assert_eq!((document.text(), document.state_vector()), before);
    }
    assert_eq!(document.apply(&update), Ok(Applied::New));
    assert_eq!(document.text(), peer.text());
}

#[test]
fn work_that_would_take_for_ever_is_stopped() {
    // Twenty thousand blocks, then blocks that name the first and the last of them.
    let mut document = Document::new(1);
    let mut chain = vec![1];
    write_number(&mut chain, 20_000);
    chain.extend(hex("0500"));
    chain.extend(hex("040107636f6e74656e740161"));
    for clock in 1..20_000 {
        chain.extend(hex("4405"));
        write_number(&mut chain, clock - 1);
        chain.extend(hex("0161"));
    }
    chain.push(0);
    assert_eq!(document.apply_within(&chain, || true), Ok(Applied::New));
    let mut forged = vec![1];
    write_number(&mut forged, 10_000);
    forged.extend(hex("0600"));
    for clock in 0..10_000 {
        forged.extend(hex("4405"));
        write_number(&mut forged, clock);
        forged.extend(hex("0162"));
    }
    forged.push(0);
    let before = document.text();
    let mut left = 640;
    let applied = document.apply_within(&forged, || {
        left -= 1;
        left > 0
    });
    assert_eq!(applied, Err(Rejected::TooLarge));
    assert_eq!(document.text(), before);
}

#[test]
fn a_text_is_not_cut_into_more_pieces_than_memory_can_hold() {
    let mut document = Document::new(1);
    let peer = Peer::new(5);
    let update = peer.edit(0, 0, "abc");
    // Counted a short while ago: it is full.
    document.blocks = (MAX_BLOCKS - RECOUNT + 1, RECOUNT - 1);
    assert_eq!(document.apply(&update), Err(Rejected::TooLarge));
    assert_eq!(document.merge_stored(&update), Ok(Applied::New));
    // Typing goes on in a text of few pieces, however long it has been typed in.
    document.blocks.1 = MAX_BLOCKS;
    assert_eq!(document.apply(&peer.edit(3, 0, "d")), Ok(Applied::New));
    assert_eq!(document.blocks, (1, 1));
    // A deletion counts for what it can cut.
    assert_eq!(document.apply(&peer.edit(1, 1, "")), Ok(Applied::New));
    assert_eq!(document.blocks, (1, 3));
}

#[test]
fn documents_may_move_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<Document>();
    check::<crate::SharedMap>();
    check::<crate::DiskMerge>();
}

proptest! {
    /// Three clients edit without seeing much of each other; what they send arrives in any
    /// order, some of it twice, with a full difference after every gap.
    #[test]
    fn any_order_of_arrival_gives_one_text(
        acts in proptest::collection::vec(
            (0..3usize, 0..60u32, 0..4u32, "[a-c\n😀]{0,3}", any::<u16>()), 1..40),
    ) {
        let peers = [Peer::new(5), Peer::new(4), Peer::new(1 << 40)];
        let mut document = Document::new(1);
        let mut under_way: Vec<(usize, Vec<u8>)> = Vec::new();
        for (who, at, delete, insert, chance) in acts {
            let length = peers[who].text().encode_utf16().count() as u32;
            let at = at.min(length);
            let update = peers[who].edit(at, delete.min(length - at), &insert);
            under_way.push((who, update));
            if chance % 3 == 0 {
                let next = peers[(who + 1) % 3].state_vector();
                peers[(who + 1) % 3].apply(&peers[who].diff(&next));
            }
            if chance % 2 == 0 {
                let at = usize::from(chance / 2) % under_way.len();
                let (from, update) = under_way.remove(at);
                if chance % 5 == 0 {
                    under_way.push((from, update.clone()));
                }
                deliver(&mut document, &peers[from], &update);
            }
        }
        for (from, update) in under_way {
            deliver(&mut document, &peers[from], &update);
        }
        let state = document.encode_verified().expect("an honest history is stable");
        for peer in &peers {
            peer.apply(&state);
            prop_assert_eq!(peer.text(), document.text());
            prop_assert_eq!(document.is_known(&peer.diff(&[0])), Ok(true));
        }
        let mut copy = Document::new(2);
        prop_assert_eq!(copy.apply_within(&state, || true).is_ok(), true);
        prop_assert_eq!(copy.text(), document.text());
    }
}

fn deliver(document: &mut Document, from: &Peer, update: &[u8]) {
    match document.apply(update) {
        Ok(_) => {}
        Err(Rejected::Gap) => {
            let difference = from.diff(&document.state_vector());
            document.apply(&difference).expect("a full difference has no gap");
        }
        Err(error) => panic!("an honest update was refused: {error}"),
    }
}

#[test]
fn nothing_builds_on_a_collected_range() {
    let mut document = Document::new(1);
    // Client 3: "a", then three collected clocks; a stock text never has any.
    for update in ["01010300040107636f6e74656e74016100", "01010301000300"] {
        assert_eq!(document.apply(&hex(update)), Ok(Applied::New));
    }
    let collected = Err(Rejected::Malformed(ScanError::Collected));
    // By another client, by the same one, within one update, and by a block that is known as
    // collected in its first half.
    assert_eq!(document.apply(&hex("01010400840302016200")), collected);
    assert_eq!(document.apply(&hex("01010304840302016200")), collected);
    assert_eq!(document.apply(&hex("010205000001840500016200")), collected);
    assert_eq!(document.apply(&hex("01010301840300056c696e650a00")), collected);
    assert_eq!(document.text(), "a");
}

#[test]
fn pieces_say_who_wrote_what() {
    let mut one = Document::new(7);
    one.replace("héllo\nworld\n").unwrap();
    let mut two = Document::load(9, &one.encode_state().unwrap()).unwrap();
    let update = two.replace("héy\nworld\n😀!\n").unwrap().unwrap();
    one.merge_stored(&update).unwrap();
    let pieces = one.pieces().unwrap();
    let text: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
    assert_eq!(text, one.text());
    assert!(pieces.iter().any(|piece| piece.client == 7 && piece.clock == 0));
    let mine: Vec<&str> =
        pieces.iter().filter(|piece| piece.client == 9).map(|piece| piece.text.as_str()).collect();
    assert_eq!(mine.concat(), "y😀!\n");
    assert_eq!(one.text(), two.text());
    let mut clocks = 0;
    for piece in pieces.iter().filter(|piece| piece.client == 9) {
        assert_eq!(piece.clock, clocks);
        clocks += piece.text.encode_utf16().count() as u32;
    }
}
