//! An update taken apart into many small ones, in an order in which each can be applied.
//!
//! What an update costs yrs cannot be told from its bytes: placing a block takes as many
//! steps as there are blocks between the neighbours it names, and honest updates name close
//! ones. So a large update is applied piece by piece, and between pieces someone with a clock
//! says whether to go on.

use crate::gate::Part;
use crate::lib0::write_number;
use crate::scan::{Deletion, Scan};

/// Deletions in one piece.
const DELETIONS: usize = 32;

/// The pieces of `update`, which `scan` describes in detail.
pub(crate) fn pieces<'a>(
    update: &'a [u8],
    scan: &'a Scan,
    order: &'a [Part],
) -> impl Iterator<Item = Vec<u8>> + 'a {
    let blocks = order.iter().flat_map(move |part| {
        let run = &scan.runs[part.run];
        let marks = &scan.marks[run.marks.clone()];
        let start = marks.partition_point(|mark| mark.clock <= part.from).saturating_sub(1);
        let end = marks.partition_point(|mark| mark.clock < part.to);
        marks[start..=end].windows(2).map(move |pair| {
            let bytes = &update[pair[0].offset..pair[1].offset];
            let mut piece = Vec::with_capacity(bytes.len() + 24);
            piece.push(1);
            write_number(&mut piece, (pair[1].block - pair[0].block) as u64);
            write_number(&mut piece, run.client);
            write_number(&mut piece, u64::from(pair[0].clock));
            piece.extend_from_slice(bytes);
            piece.push(0);
            piece
        })
    });
    let by_client = scan.deletions.chunk_by(|one, next| one.client == next.client);
    let deletions = by_client.flat_map(|all| all.chunks(DELETIONS)).map(deletion_piece);
    blocks.chain(deletions)
}

fn deletion_piece(deletions: &[Deletion]) -> Vec<u8> {
    let mut piece = vec![0, 1];
    write_number(&mut piece, deletions[0].client);
    write_number(&mut piece, deletions.len() as u64);
    for deletion in deletions {
        write_number(&mut piece, u64::from(deletion.start));
        write_number(&mut piece, u64::from(deletion.end - deletion.start));
    }
    piece
}
