//! Who has seen how much of a terminal, and whether its program must wait.
//!
//! Pure: the clock comes from outside. The rules: a viewer gets at most a window of output that
//! it has not acknowledged; the program is slowed only while every counting viewer lags by a
//! window; a viewer that makes no progress for [`TERMINAL_STALL`] is reset to a repaint and does
//! not count until it shows life again; with no counting viewer the program runs free.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use tandem_proto::agent::{Exit, TerminalOutput};
use tandem_proto::limits::{TERMINAL_RING_BYTES, TERMINAL_STALL, TERMINAL_WINDOW_BYTES};
use tandem_term::Screen;

/// Most bytes of one chunk.
const CHUNK: usize = 64 * 1024;

/// The output of a terminal and its viewers.
#[derive(Debug)]
pub struct Flow {
    screen: Screen,
    viewers: BTreeMap<ViewerId, Viewer>,
    next_viewer: u64,
    exit: Option<Exit>,
}

/// One stream that watches a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ViewerId(u64);

#[derive(Debug)]
struct Viewer {
    /// Offset of the next byte to hand out.
    cursor: u64,
    /// Everything before it went into the socket.
    sent: u64,
    /// Everything before it was drawn; `None` until the first acknowledgement.
    acked: Option<u64>,
    /// Since when it lags by a window without progress.
    lagging_since: Option<Instant>,
    restart: bool,
    counts: bool,
    exit_sent: bool,
}

impl Viewer {
    /// A stream that never acknowledges is as far as its socket has taken it.
    fn position(&self) -> u64 {
        self.acked.unwrap_or(self.sent)
    }

    fn lags(&self, end: u64) -> bool {
        end.saturating_sub(self.position()) >= TERMINAL_WINDOW_BYTES
    }

    fn progressed(&mut self, end: u64, now: Instant) {
        self.counts = true;
        self.lagging_since = self.lags(end).then_some(now);
    }

    fn reset(&mut self) {
        self.restart = true;
        self.counts = false;
        self.lagging_since = None;
    }
}

/// What a viewer's stream does next.
#[derive(Debug)]
pub enum Step {
    /// Send this.
    Send(TerminalOutput),
    /// Send this, and have a full-screen program draw again.
    Repaint(TerminalOutput),
    /// Nothing until there is output or an acknowledgement, at the latest until then.
    Wait(Option<Instant>),
    /// The viewer was removed.
    Gone,
}

impl Flow {
    /// A terminal that already shows `history`.
    pub fn new(history: &[u8]) -> Self {
        let mut screen = Screen::new(TERMINAL_RING_BYTES);
        screen.push(history);
        Self { screen, viewers: BTreeMap::new(), next_viewer: 0, exit: None }
    }

    /// The output.
    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// How the program ended, once all its output is here.
    pub fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// Adds output.
    pub fn push(&mut self, bytes: &[u8], now: Instant) {
        self.screen.push(bytes);
        let end = self.screen.ring().end();
        for viewer in self.viewers.values_mut() {
            if viewer.lagging_since.is_none() && viewer.lags(end) {
                viewer.lagging_since = Some(now);
            }
        }
    }

    /// The program ended and all its output was pushed.
    pub fn finish(&mut self, exit: Exit) {
        self.exit = Some(exit);
    }

    /// A new viewer that wants output from an offset on, or a repaint.
    pub fn attach(&mut self, from: Option<u64>) -> ViewerId {
        let id = ViewerId(self.next_viewer);
        self.next_viewer += 1;
        let ring = self.screen.ring();
        let known = from.filter(|from| (ring.start()..=ring.end()).contains(from));
        let viewer = Viewer {
            cursor: known.unwrap_or(0),
            sent: known.unwrap_or(ring.end()),
            acked: None,
            lagging_since: None,
            restart: known.is_none(),
            counts: true,
            exit_sent: false,
        };
        self.viewers.insert(id, viewer);
        id
    }

    /// The viewer is gone.
    pub fn detach(&mut self, id: ViewerId) {
        self.viewers.remove(&id);
    }

    /// Everything handed to this viewer went into its socket.
    pub fn sent(&mut self, id: ViewerId, now: Instant) {
        let end = self.screen.ring().end();
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.sent = viewer.cursor;
            if viewer.acked.is_none() {
                viewer.progressed(end, now);
            }
        }
    }

    /// The viewer has drawn everything before `offset`.
    pub fn acked(&mut self, id: ViewerId, offset: u64, now: Instant) {
        let end = self.screen.ring().end();
        if let Some(viewer) = self.viewers.get_mut(&id) {
            let offset = offset.min(viewer.cursor);
            let is_progress = match viewer.acked {
                Some(acked) if viewer.counts => offset > acked,
                // After a reset any sign of life will do.
                Some(acked) => offset >= acked,
                None => true,
            };
            if is_progress {
                viewer.acked = Some(offset);
                viewer.progressed(end, now);
            }
        }
    }

    /// Whether the program must wait, and until when at the latest.
    pub fn pause(&mut self, now: Instant) -> Option<Instant> {
        let mut until: Option<Instant> = None;
        let mut slowed = false;
        for viewer in self.viewers.values_mut().filter(|viewer| viewer.counts) {
            let since = viewer.lagging_since?;
            let limit = since + TERMINAL_STALL;
            if limit <= now {
                viewer.reset();
            } else {
                slowed = true;
                until = Some(until.map_or(limit, |until| until.min(limit)));
            }
        }
        until.filter(|_| slowed)
    }

    /// What the viewer's stream does next.
    pub fn next(&mut self, id: ViewerId, now: Instant) -> Step {
        let exit = self.exit;
        let Some(viewer) = self.viewers.get_mut(&id) else { return Step::Gone };
        let ring = self.screen.ring();
        let unacked = viewer.acked.map_or(0, |acked| viewer.cursor.saturating_sub(acked));
        if !viewer.restart && unacked >= TERMINAL_WINDOW_BYTES {
            let since = *viewer.lagging_since.get_or_insert(now);
            if !viewer.counts {
                return Step::Wait(None);
            }
            if now < since + TERMINAL_STALL {
                return Step::Wait(Some(since + TERMINAL_STALL));
            }
            viewer.reset();
        }
        let fell_off = viewer.cursor < ring.start();
        if fell_off && !viewer.restart && !viewer.counts && viewer.acked.is_some() {
            // It was repainted once and shows no life: the next repaint is for when it does.
            return Step::Wait(None);
        }
        let repaint = (viewer.restart || fell_off).then(|| self.screen.repaint());
        viewer.restart = false;
        // Output goes forward only: a viewer that was handed the newest already goes on there.
        if let Some(repaint) = repaint.filter(|repaint| repaint.offset >= viewer.cursor) {
            viewer.cursor = repaint.offset;
            viewer.acked = viewer.acked.map(|_| repaint.offset);
            viewer.lagging_since = None;
            let output = TerminalOutput::Restart {
                offset: repaint.offset,
                prelude: Bytes::from(repaint.prelude),
            };
            return if repaint.needs_redraw { Step::Repaint(output) } else { Step::Send(output) };
        }
        let unacked = viewer.acked.map_or(0, |acked| viewer.cursor.saturating_sub(acked));
        let left = TERMINAL_WINDOW_BYTES.saturating_sub(unacked);
        let room = CHUNK.min(usize::try_from(left).unwrap_or(CHUNK));
        let bytes = ring.read(viewer.cursor, room).unwrap_or_default();
        if !bytes.is_empty() {
            let offset = viewer.cursor;
            viewer.cursor += bytes.len() as u64;
            return Step::Send(TerminalOutput::Chunk { offset, bytes: Bytes::from(bytes) });
        }
        match exit {
            Some(exit) if !viewer.exit_sent => {
                viewer.exit_sent = true;
                Step::Send(TerminalOutput::Exited { exit })
            }
            _ => Step::Wait(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WINDOW: usize = TERMINAL_WINDOW_BYTES as usize;

    /// Takes everything the viewer may have now.
    fn drain(flow: &mut Flow, id: ViewerId, now: Instant) -> (u64, Vec<TerminalOutput>) {
        let mut got = Vec::new();
        let mut end = 0;
        loop {
            match flow.next(id, now) {
                Step::Send(output) | Step::Repaint(output) => {
                    match &output {
                        TerminalOutput::Chunk { offset, bytes } => {
                            end = offset + bytes.len() as u64
                        }
                        TerminalOutput::Restart { offset, .. } => end = *offset,
                        TerminalOutput::Exited { .. } => {}
                    }
                    got.push(output);
                    flow.sent(id, now);
                }
                Step::Wait(_) | Step::Gone => return (end, got),
            }
        }
    }

    fn flood(flow: &mut Flow, bytes: usize, now: Instant) {
        for _ in 0..bytes / 1024 {
            flow.push(&[b'x'; 1023], now);
            flow.push(b"\n", now);
        }
    }

    #[test]
    fn nobody_watches_and_the_program_runs_free() {
        let now = Instant::now();
        let mut flow = Flow::new(b"");
        flood(&mut flow, 4 * WINDOW, now);
        assert_eq!(flow.pause(now), None);
    }

    #[test]
    fn slowed_only_when_all_counting_viewers_lag() {
        let now = Instant::now();
        let mut flow = Flow::new(b"");
        let (fast, slow) = (flow.attach(Some(0)), flow.attach(Some(0)));
        flow.acked(fast, 0, now);
        flow.acked(slow, 0, now);
        flood(&mut flow, WINDOW, now);
        let (end, _) = drain(&mut flow, fast, now);
        drain(&mut flow, slow, now);
        assert_eq!(end, TERMINAL_WINDOW_BYTES);
        assert!(flow.pause(now).is_some(), "both lag");
        flow.acked(fast, end, now);
        assert_eq!(flow.pause(now), None, "one has caught up");
        flow.detach(fast);
        assert!(flow.pause(now).is_some(), "the slow one is alone");
    }

    #[test]
    fn a_stalled_viewer_is_reset_once_and_counts_again_when_it_acks() {
        let start = Instant::now();
        let mut flow = Flow::new(b"");
        let id = flow.attach(Some(0));
        flow.acked(id, 0, start);
        flood(&mut flow, 2 * WINDOW, start);
        drain(&mut flow, id, start);
        let until = flow.pause(start).unwrap();
        assert_eq!(until, start + TERMINAL_STALL);
        assert_eq!(flow.pause(until), None);
        let (end, got) = drain(&mut flow, id, until);
        assert!(matches!(got[0], TerminalOutput::Restart { .. }), "{got:?}");
        assert_eq!(end, flow.screen().ring().end());
        // Still dead: it is left alone.
        flood(&mut flow, 4 * WINDOW, until);
        assert!(drain(&mut flow, id, until).1.is_empty());
        let later = until + Duration::from_secs(60);
        flood(&mut flow, 4 * WINDOW, later);
        assert_eq!(flow.pause(later), None);
        assert!(drain(&mut flow, id, later).1.is_empty());
        // Alive again: its place is gone, so it is repainted, and it counts.
        flow.acked(id, end, later);
        let (end, got) = drain(&mut flow, id, later);
        assert!(matches!(got[0], TerminalOutput::Restart { .. }));
        assert_eq!(end, flow.screen().ring().end());
        flood(&mut flow, WINDOW, later);
        assert!(flow.pause(later).is_some());
    }

    #[test]
    fn a_stalled_viewer_that_was_handed_everything_is_never_sent_backwards() {
        let start = Instant::now();
        let mut flow = Flow::new(b"");
        let id = flow.attach(Some(0));
        flow.acked(id, 0, start);
        flood(&mut flow, WINDOW, start);
        assert_eq!(drain(&mut flow, id, start).0, TERMINAL_WINDOW_BYTES);
        let later = start + TERMINAL_STALL;
        assert_eq!(flow.pause(later), None);
        assert!(drain(&mut flow, id, later).1.is_empty());
        flow.push(b"more", later);
        assert!(drain(&mut flow, id, later).1.is_empty(), "its window is full");
        flow.acked(id, 1000, later);
        let (end, got) = drain(&mut flow, id, later);
        assert!(matches!(got[..], [TerminalOutput::Chunk { .. }]), "{got:?}");
        assert_eq!(end, flow.screen().ring().end());
    }

    #[test]
    fn an_idle_viewer_is_not_stalled_by_a_burst() {
        let start = Instant::now();
        let mut flow = Flow::new(b"");
        let id = flow.attach(None);
        drain(&mut flow, id, start);
        flow.acked(id, 0, start);
        let later = start + Duration::from_secs(3600);
        flood(&mut flow, WINDOW, later);
        assert_eq!(flow.pause(later), Some(later + TERMINAL_STALL));
    }

    #[test]
    fn a_stream_that_never_acks_has_no_window() {
        let now = Instant::now();
        let mut flow = Flow::new(b"");
        let id = flow.attach(Some(0));
        flood(&mut flow, TERMINAL_RING_BYTES, now);
        assert!(flow.pause(now).is_some(), "its socket has not taken anything yet");
        let (end, got) = drain(&mut flow, id, now);
        assert_eq!(end, TERMINAL_RING_BYTES as u64);
        assert!(got.iter().all(|output| matches!(output, TerminalOutput::Chunk { .. })));
        assert_eq!(flow.pause(now), None);
    }

    #[test]
    fn offsets_that_are_not_held_get_a_repaint_and_exits_come_last() {
        let now = Instant::now();
        let mut flow = Flow::new(b"above\n");
        let exit = Exit { code: Some(3), signal: None, duration_ms: 5 };
        flow.push(b"out", now);
        flow.finish(exit);
        for from in [None, Some(10_000)] {
            let id = flow.attach(from);
            let (end, got) = drain(&mut flow, id, now);
            assert!(matches!(got[0], TerminalOutput::Restart { offset: 0, .. }), "{got:?}");
            assert!(matches!(
                got.last(),
                Some(TerminalOutput::Exited { exit: Exit { code: Some(3), .. } })
            ));
            assert_eq!(end, 9);
        }
        let id = flow.attach(Some(6));
        let (_, got) = drain(&mut flow, id, now);
        assert!(matches!(&got[0], TerminalOutput::Chunk { offset: 6, bytes } if bytes == "out"));
    }
}
