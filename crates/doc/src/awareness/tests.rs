use super::*;
use proptest::prelude::*;

fn message(entries: &[(u64, u32, &str)]) -> Vec<u8> {
    encode(entries.iter().copied()).unwrap_or_else(|| vec![0])
}

#[test]
fn states_come_change_and_go() {
    let mut awareness = Awareness::new();
    let hello = message(&[(7, 0, r#"{"user":1}"#)]);
    assert_eq!(awareness.apply(1, &hello, 0), Ok(Some(hello.clone())));
    assert_eq!(awareness.encode_all(), Some(hello.clone()));
    // The same clock again is an echo.
    assert_eq!(awareness.apply(1, &hello, 0), Ok(None));
    let moved = message(&[(7, 1, r#"{"user":2}"#)]);
    assert_eq!(awareness.apply(1, &moved, 0), Ok(Some(moved)));
    // A removal may come at the same clock.
    let gone = message(&[(7, 1, "null")]);
    assert_eq!(awareness.apply(1, &gone, 0), Ok(Some(gone.clone())));
    assert_eq!(awareness.apply(1, &gone, 0), Ok(None));
    assert!(awareness.is_empty());
    assert_eq!(awareness.encode_all(), None);
}

#[test]
fn a_connection_changes_only_its_own_clients() {
    let mut awareness = Awareness::new();
    awareness.apply(1, &message(&[(7, 1, "{}")]), 0).expect("applies");
    for forged in [message(&[(7, 9, "{\"x\":1}")]), message(&[(7, 9, "null")])] {
        assert_eq!(awareness.apply(2, &forged, 1_000), Ok(None));
    }
    // What is its own in the same message counts.
    let mixed = message(&[(7, 9, "null"), (8, 1, "{}")]);
    assert_eq!(awareness.apply(2, &mixed, 1_000), Ok(Some(message(&[(8, 1, "{}")]))));
    // A person comes back while the dead connection is still open: once it is silent.
    let back = message(&[(7, 10, "{}")]);
    assert_eq!(awareness.apply(3, &back, 20_000), Ok(Some(back)));
    assert_eq!(awareness.remove_connection(1), None);
    assert_eq!(awareness.len(), 2);
}

#[test]
fn a_connection_takes_its_clients_with_it_and_echoes_do_not_bring_them_back() {
    let mut awareness = Awareness::new();
    awareness.apply(1, &message(&[(7, 3, "{}"), (8, 1, "{}")]), 0).expect("applies");
    awareness.apply(2, &message(&[(9, 1, "{}")]), 0).expect("applies");
    let gone = message(&[(7, 3, "null"), (8, 1, "null")]);
    assert_eq!(awareness.remove_connection(1), Some(gone));
    assert_eq!(awareness.remove_connection(1), None);
    // Stock clients send on what they heard.
    assert_eq!(awareness.apply(2, &message(&[(7, 3, "{}")]), 10), Ok(None));
    // The client itself goes on from its clock.
    assert!(awareness.apply(4, &message(&[(7, 4, "{}")]), 20).expect("applies").is_some());
}

#[test]
fn what_is_not_renewed_expires() {
    let mut awareness = Awareness::new();
    awareness.apply(1, &message(&[(7, 1, "{}")]), 0).expect("applies");
    awareness.apply(1, &message(&[(8, 1, "{}")]), 20_000).expect("applies");
    assert_eq!(awareness.expire(29_999), None);
    assert_eq!(awareness.expire(30_000), Some(message(&[(7, 1, "null")])));
    assert_eq!(awareness.len(), 1);
    assert_eq!(awareness.expire(200_000), Some(message(&[(8, 1, "null")])));
    assert!(awareness.gone.len() < 2);
}

#[test]
fn bad_messages_change_nothing() {
    let mut awareness = Awareness::new();
    let large = format!("\"{}\"", "x".repeat(MAX_STATE_BYTES));
    let many: Vec<_> = (0..17).map(|client| (client, 1, "{}")).collect();
    for (bytes, error) in [
        (message(&[(1, 1, "{}"), (2, 1, &large)]), AwarenessError::TooLarge),
        (message(&[(1, 1, "{}"), (2, 1, "{")]), AwarenessError::NotJson),
        (message(&[(1, 1, "")]), AwarenessError::NotJson),
        (message(&many), AwarenessError::TooManyClients),
        (vec![2, 1, 1, 2, b'{', b'}'], AwarenessError::Malformed),
        (vec![], AwarenessError::Malformed),
        (vec![0, 0], AwarenessError::Malformed),
    ] {
        assert_eq!(awareness.apply(1, &bytes, 0), Err(error));
        assert!(awareness.is_empty());
    }
    let deep = "[".repeat(2_000) + &"]".repeat(2_000);
    let _ = awareness.apply(1, &message(&[(1, 1, &deep)]), 0);
}

#[test]
fn memory_of_the_gone_is_bounded() {
    let mut awareness = Awareness::new();
    for client in 0..20_000 {
        awareness.apply(1, &message(&[(client, 1, "{}")]), client).expect("applies");
        awareness.apply(1, &message(&[(client, 2, "null")]), client).expect("applies");
    }
    assert!(awareness.gone.len() <= MAX_GONE);
}

proptest! {
    #[test]
    fn any_bytes_are_applied_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let mut awareness = Awareness::new();
        if let Ok(Some(out)) = awareness.apply(1, &bytes, 0) {
            prop_assert!(Awareness::new().apply(2, &out, 0).is_ok());
        }
    }
}
