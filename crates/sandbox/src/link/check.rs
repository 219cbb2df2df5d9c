//! What an agent may say, beyond being well-formed.

use tandem_proto::SandboxId;
use tandem_proto::agent::{Entry, Event, Found, Hello, Op, Reply, TerminalState, VERSION};
use tandem_proto::limits::{MAX_TERMINAL_COLS, MAX_TERMINAL_ROWS, MAX_TERMINALS, MAX_TEXT_BYTES};

/// Most paths in one [`Event::Changed`].
const MAX_CHANGED: usize = 1000;
/// Most entries in one [`Event::ScanChunk`].
const MAX_CHUNK: usize = 5000;
/// Most listening ports that are taken note of.
const MAX_PORTS: usize = 1024;
const MAX_TITLE_CHARS: usize = 256;
/// Longest text of a symbolic link's target (PATH_MAX).
const MAX_LINK_BYTES: usize = 4096;

/// A broken rule, for the log.
pub(super) type Violation = &'static str;

/// The greeting, with ended terminals bounded.
pub(super) fn hello(hello: &Hello, sandbox: SandboxId) -> Result<(), Violation> {
    if hello.sandbox != sandbox {
        return Err("the greeting names another sandbox");
    }
    if hello.version != VERSION {
        return Err("the agent speaks another version");
    }
    if hello.terminals.len() > 2 * MAX_TERMINALS {
        return Err("too many terminals");
    }
    for (index, state) in hello.terminals.iter().enumerate() {
        terminal(state)?;
        if hello.terminals[..index].iter().any(|other| other.terminal == state.terminal) {
            return Err("a terminal is listed twice");
        }
    }
    Ok(())
}

fn terminal(state: &TerminalState) -> Result<(), Violation> {
    let (cols, rows) = state.size;
    if cols == 0 || rows == 0 || cols > MAX_TERMINAL_COLS || rows > MAX_TERMINAL_ROWS {
        return Err("a terminal's size is out of bounds");
    }
    state.program_title.as_deref().map_or(Ok(()), title)?;
    title(&state.title)
}

fn title(text: &str) -> Result<(), Violation> {
    if text.chars().count() > MAX_TITLE_CHARS || text.chars().any(char::is_control) {
        return Err("a title is too long or holds control characters");
    }
    Ok(())
}

/// An event; a scan chunk's request is checked by the caller, who knows the requests.
pub(super) fn event(event: &Event) -> Result<(), Violation> {
    match event {
        Event::Changed { paths } if paths.len() > MAX_CHANGED => Err("too many changed paths"),
        Event::ScanChunk { entries, .. } => {
            if entries.len() > MAX_CHUNK {
                return Err("a scan chunk is too large");
            }
            entries.iter().try_for_each(entry)
        }
        Event::Ports { ports } => {
            if ports.len() > MAX_PORTS {
                return Err("too many listening ports");
            }
            if ports.iter().any(|port| port.port == 0) {
                return Err("port 0 listens");
            }
            Ok(())
        }
        Event::Title { title: text, .. } => title(text),
        Event::Changed { .. } | Event::Overflow | Event::Exited { .. } => Ok(()),
    }
}

fn entry(entry: &Entry) -> Result<(), Violation> {
    match &entry.kind {
        tandem_proto::agent::EntryKind::Symlink(target) if target.len() > MAX_LINK_BYTES => {
            Err("a link's target is too long")
        }
        _ => Ok(()),
    }
}

/// Whether a reply is one that this operation can have.
pub(super) fn reply(op: &Op, reply: &Reply) -> Result<(), Violation> {
    const WRONG: Violation = "the reply does not belong to its request";
    let about = |path: &tandem_proto::RelPath, found: &Entry| {
        if found.path == *path { entry(found) } else { Err("the reply is about another path") }
    };
    match (op, reply) {
        (Op::Write { path, .. }, Reply::Written { entry }) => about(path, entry),
        (Op::Write { path, .. }, Reply::Conflict { found }) => match found {
            Found::Absent => Ok(()),
            Found::File { content, entry } => {
                if content.len() > MAX_TEXT_BYTES {
                    return Err("the found content is too large");
                }
                about(path, entry)
            }
            Found::Other(entry) => about(path, entry),
        },
        (Op::Read { path, max_bytes }, Reply::Content { content, entry }) => {
            if content.len() as u64 > *max_bytes {
                return Err("more was read than asked for");
            }
            about(path, entry)
        }
        (Op::Stat { path }, Reply::Entry(found)) => {
            found.as_ref().map_or(Ok(()), |found| about(path, found))
        }
        (Op::Scan { .. }, Reply::Scanned { .. })
        | (Op::Spawn(_), Reply::Spawned { .. })
        | (Op::Usage, Reply::Usage(_)) => Ok(()),
        (
            Op::MakeFolder { .. }
            | Op::Rename { .. }
            | Op::Delete { .. }
            | Op::SetExecutable { .. }
            | Op::Resize { .. }
            | Op::Signal { .. }
            | Op::CloseTerminal { .. }
            | Op::MarkFilled
            | Op::StopProcesses { .. }
            | Op::CheckPorts,
            Reply::Done,
        ) => Ok(()),
        _ => Err(WRONG),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tandem_proto::agent::{EntryKind, ListeningPort, Signature, TerminalKind};
    use tandem_proto::{RelPath, TerminalId};

    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    fn file(text: &str) -> Entry {
        Entry {
            path: path(text),
            kind: EntryKind::File,
            signature: Signature { device: 1, inode: 1, size: 1, mtime_ns: 0, ctime_ns: 0 },
            executable: false,
            ignored: false,
        }
    }

    #[test]
    fn greetings_are_bounded() {
        let sandbox = SandboxId::from_random([1; 10]);
        let state = TerminalState {
            terminal: TerminalId::from_random([2; 10]),
            kind: TerminalKind::Shell,
            title: "bash".into(),
            program_title: None,
            size: (80, 24),
            end: 0,
            exit: None,
            started_ms: 0,
        };
        let good = Hello {
            version: VERSION,
            sandbox,
            terminals: vec![state.clone()],
            filled: true,
            scrollback: true,
        };
        assert_eq!(hello(&good, sandbox), Ok(()));
        assert!(hello(&good, SandboxId::from_random([9; 10])).is_err());
        assert!(hello(&Hello { version: 2, ..good.clone() }, sandbox).is_err());
        for terminals in [
            vec![state.clone(), state.clone()],
            vec![TerminalState { size: (65535, 65535), ..state.clone() }],
            vec![TerminalState { size: (0, 24), ..state.clone() }],
            vec![TerminalState { title: "a\u{1b}]52;".into(), ..state.clone() }],
            vec![TerminalState { title: "a".repeat(257), ..state.clone() }],
            vec![TerminalState { program_title: Some("a".repeat(257)), ..state.clone() }],
        ] {
            assert!(hello(&Hello { terminals, ..good.clone() }, sandbox).is_err());
        }
    }

    #[test]
    fn events_are_bounded() {
        let many = vec![path("a"); MAX_CHANGED + 1];
        assert!(event(&Event::Changed { paths: many }).is_err());
        let local = std::net::IpAddr::from([127, 0, 0, 1]);
        let zero = vec![ListeningPort { port: 0, address: local }];
        assert!(event(&Event::Ports { ports: zero }).is_err());
        let crowd = vec![ListeningPort { port: 1, address: local }; MAX_PORTS + 1];
        assert!(event(&Event::Ports { ports: crowd }).is_err());
        assert!(event(&Event::Overflow).is_ok());
    }

    #[test]
    fn replies_belong_to_their_requests() {
        let read = Op::Read { path: path("a"), max_bytes: 3 };
        let content = |bytes: &'static [u8], name| Reply::Content {
            content: Bytes::from_static(bytes),
            entry: file(name),
        };
        assert_eq!(reply(&read, &content(b"abc", "a")), Ok(()));
        assert!(reply(&read, &content(b"abcd", "a")).is_err());
        assert!(reply(&read, &content(b"abc", "b")).is_err());
        assert!(reply(&read, &Reply::Done).is_err());
        assert!(reply(&Op::Usage, &Reply::Done).is_err());
    }
}
