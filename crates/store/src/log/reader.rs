//! Reads one repl's records back.

use std::sync::Arc;

use tandem_proto::{Lsn, ReplId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::format::{self, BATCH_HEADER, BatchHeader, KIND_COVERED, RECORD_HEADER, RawRecord};
use super::index::{ReadSpan, Segment};
use super::queue::Shared;
use super::segment::Window;
use super::{Damage, LogError, Record, Suspects};

/// Records waiting for their reader; the reading thread waits when they are not taken.
const AHEAD: usize = 64;

/// Records of one repl, in order.
#[derive(Debug)]
pub struct Replay {
    records: mpsc::Receiver<Result<Record, LogError>>,
    task: Option<JoinHandle<()>>,
}

impl Replay {
    pub(super) fn start(repl: ReplId, plan: Vec<ReadSpan>, shared: Arc<Shared>) -> Self {
        let (sender, records) = mpsc::channel(AHEAD);
        let task = (!plan.is_empty()).then(|| {
            tokio::task::spawn_blocking(move || {
                for span in plan {
                    match read_span(repl, &span, &sender) {
                        Ok(true) => {}
                        // Nobody reads on.
                        Ok(false) => return,
                        Err(LogError::Io { source, .. })
                            if source.kind() == std::io::ErrorKind::NotFound
                                && !shared.index().holds(&span.path) =>
                        {
                            // Covered and deleted since the plan was made.
                        }
                        Err(error) => {
                            let _ = sender.blocking_send(Err(error));
                            return;
                        }
                    }
                }
            })
        });
        Self { records, task }
    }

    /// The next record; `None` after the last. Cancel-safe.
    ///
    /// # Errors
    /// See [`super::Log::replay`]. Nothing follows an error.
    pub async fn next(&mut self) -> Result<Option<Record>, LogError> {
        match self.records.recv().await {
            Some(record) => record.map(Some),
            None => match self.task.take() {
                Some(task) => task.await.map(|()| None).map_err(|error| LogError::Failed {
                    reason: format!("reading it was interrupted: {error}"),
                }),
                None => Ok(None),
            },
        }
    }
}

type Sender = mpsc::Sender<Result<Record, LogError>>;

fn read_span(repl: ReplId, plan: &ReadSpan, sender: &Sender) -> Result<bool, LogError> {
    let mut window = Window::open(&plan.path).map_err(LogError::io("open", &plan.path))?;
    for (index, &start) in plan.span.starts.iter().enumerate() {
        let next_start = plan.span.starts.get(index + 1).map_or(u64::MAX, |&next| u64::from(next));
        let end = Segment::block_end(start).min(next_start);
        let mut offset = u64::from(start);
        let mut expected = plan.span.first;
        while offset < end {
            let header =
                window.get(offset, BATCH_HEADER).map_err(LogError::io("read", &plan.path))?;
            let batch = BatchHeader::decode(header, plan.boot);
            let Some(batch) = batch.filter(|batch| !batch.seal) else {
                if offset != u64::from(start) && plan.knows_hole(expected) {
                    // Behind a known hole there is another start.
                    break;
                }
                return Err(plan.damaged(expected, plan.span.last));
            };
            if batch.first > plan.span.last {
                return Ok(true);
            }
            if !read_batch(repl, plan, (&mut window, offset, &batch), sender)? {
                return Ok(false);
            }
            expected = Lsn(batch.last().0.saturating_add(1));
            if expected > plan.span.last {
                return Ok(true);
            }
            offset += batch.span();
        }
    }
    Ok(true)
}

fn read_batch(
    repl: ReplId,
    plan: &ReadSpan,
    (window, offset, batch): (&mut Window, u64, &BatchHeader),
    sender: &Sender,
) -> Result<bool, LogError> {
    let mut at = offset + (BATCH_HEADER + batch.table_bytes()) as u64;
    for index in 0..u64::from(batch.records) {
        let lsn = Lsn(batch.first.0 + index);
        let head = window.get(at, RECORD_HEADER).map_err(LogError::io("read", &plan.path))?;
        let span = format::record_span(head).unwrap_or(0);
        let bytes = window.get(at, span).map_err(LogError::io("read", &plan.path))?;
        let Some(record) = RawRecord::decode(bytes, plan.boot, lsn) else {
            let known = lsn > plan.segment_last || plan.knows_hole(lsn);
            return if known { Ok(true) } else { Err(plan.damaged(lsn, batch.last())) };
        };
        if record.repl == repl && record.kind != KIND_COVERED && lsn > plan.after {
            let record = record.to_record(plan.node, plan.boot)?;
            if sender.blocking_send(Ok(record)).is_err() {
                return Ok(false);
            }
        }
        at += span as u64;
    }
    Ok(true)
}

impl ReadSpan {
    fn knows_hole(&self, lsn: Lsn) -> bool {
        self.holes.iter().any(|(first, last)| *first <= lsn && lsn <= *last)
    }

    /// It was whole when the log was opened.
    fn damaged(&self, first: Lsn, last: Lsn) -> LogError {
        LogError::Damaged(Box::new(Damage {
            segment: self.path.clone(),
            node: self.node,
            boot: self.boot,
            first,
            last,
            suspects: Suspects::All,
        }))
    }
}
