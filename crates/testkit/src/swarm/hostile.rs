//! Somebody with the right to edit who sends bytes that are wrong on purpose. Whatever they are,
//! they may reach nobody else.

use anyhow::Result;
use rand::Rng as _;
use rand::rngs::StdRng;

use super::wire::Place;
use crate::Api;

/// Byte strings that once broke decoders or their callers.
const KNOWN: &[&[u8]] = &[
    &[0x01, 0x01, 0x01, 0x01, 0xd2, 0x84, 0x3d, 0x0c, 0x44, 0x0f, 0x00, 0x01, 0x71, 0x00],
    &[0xff, 0xff, 0xff, 0xff, 0x0f, 0x00],
    &[0x01, 0xff, 0xff, 0xff, 0xff, 0x07, 0x01, 0x00],
    &[0x00, 0x01, 0x01, 0xff, 0xff, 0xff, 0xff, 0x0f],
];

/// Sends `count` of them, each over a connection of its own once the last was closed.
pub(super) async fn attack(
    api: &Api,
    place: Place<'_>,
    random: &mut StdRng,
    count: usize,
) -> Result<u64> {
    let address = format!("#{}", place.file);
    let mut sent = 0;
    let mut socket = api.live(place.repl).await?;
    let state = {
        let document = socket.join(&address).await?;
        // Mutations of the whole history come closest to what is honest.
        document.replica.difference(&[0])?
    };
    while sent < count as u64 {
        let bytes = match random.random_range(0..3) {
            0 => KNOWN[random.random_range(0..KNOWN.len())].to_vec(),
            1 => (0..random.random_range(0..60)).map(|_| random.random_range(0..20)).collect(),
            _ => truncated(random, &state),
        };
        if socket.send_update(&address, &bytes).await.is_err() {
            break;
        }
        sent += 1;
        if socket.document(&address)?.reset.is_some() {
            socket = api.live(place.repl).await?;
            socket.join(&address).await?;
        }
        socket.listen(std::time::Duration::from_millis(2)).await?;
    }
    Ok(sent)
}

/// The history cut off somewhere or with impossible counts: never an edit that could be applied,
/// which somebody with the right to edit may make, and which would change texts.
fn truncated(random: &mut StdRng, state: &[u8]) -> Vec<u8> {
    let end = random.random_range(0..state.len().max(1));
    let mut bytes = state[..end.min(state.len())].to_vec();
    if let Some(first) = bytes.first_mut() {
        *first = first.wrapping_add(random.random_range(1..100));
    }
    bytes
}
