//! What comes over sockets: frames of browsers, of agents, and uploaded archives.

use std::io::Write as _;

use bytes::Bytes;
use tandem_doc::awareness::Awareness;
use tandem_proto::agent::{Entry, EntryKind, Event, FromAgent, ListeningPort, Reply, Signature};
use tandem_proto::collab::{self, Frame};
use tandem_proto::id::{FileId, Generation};
use tandem_proto::live::{self, AckLevel, Message};
use tandem_proto::path::RelPath;

use crate::Target;
use crate::mutate::Random;

/// Carets.
#[derive(Default)]
pub struct Carets {
    awareness: Option<Awareness>,
    read: u64,
}

impl Target for Carets {
    fn name(&self) -> &'static str {
        "carets"
    }

    fn seeds(&mut self, _random: &mut Random) -> Vec<Vec<u8>> {
        let entry = |client: u8, clock: u8, state: &str| {
            let mut bytes = vec![client, clock, state.len() as u8];
            bytes.extend_from_slice(state.as_bytes());
            bytes
        };
        let mut seeds = Vec::new();
        for count in 0..5u8 {
            let mut bytes = vec![count];
            for client in 0..count {
                let state = r#"{"user":{"name":"Ann"},"cursor":null}"#;
                bytes.extend(entry(client, count, if client == 1 { "null" } else { state }));
            }
            seeds.push(bytes);
        }
        seeds
    }

    fn read(&mut self, bytes: &[u8]) -> String {
        self.read += 1;
        if self.read.is_multiple_of(500) {
            self.awareness = None;
        }
        let awareness = self.awareness.get_or_insert_with(Awareness::new);
        let outcome = awareness.apply(self.read % 3, bytes, self.read);
        assert!(awareness.len() <= 3 * 16, "at most 16 for each of three connections");
        match outcome {
            Ok(news) => {
                let all = awareness.encode_all();
                format!("{} {}", news.is_some(), all.is_some())
            }
            Err(error) => error.to_string(),
        }
    }
}

/// Frames of the two addressed protocols and sync messages.
pub struct Socket;

impl Target for Socket {
    fn name(&self) -> &'static str {
        "socket"
    }

    fn seeds(&mut self, _random: &mut Random) -> Vec<Vec<u8>> {
        let guid = Some(FileId::ROOT);
        let messages = [
            Message::Identity { guid, generation: Generation(3), path: "a/b" },
            Message::Update { seq: 7, update: &[1, 2, 3] },
            Message::Ack { seq: 300, level: AckLevel::Stored },
            Message::Nack { seq: 1, code: 4403 },
            Message::Credit { bytes: 1 << 20 },
            Message::Reset { reason: 4409 },
            Message::Closed { code: 4404 },
        ];
        let mut seeds: Vec<Vec<u8>> =
            messages.iter().map(|message| live::encode("src/main.py", message)).collect();
        seeds.push(vec![9]);
        seeds.push(vec![10]);
        seeds.extend([vec![0, 1, 0], vec![1, 2, 0, 0], vec![2, 2, 0, 0]]);
        for kind in 0..9 {
            let mut frame = collab::start("repl/path\0session", kind);
            frame.extend([2, 3, b'a', b'b', b'c']);
            seeds.push(frame);
        }
        seeds
    }

    fn read(&mut self, bytes: &[u8]) -> String {
        let sync = tandem_doc::sync::parse(bytes).is_ok();
        let parsed = match collab::parse(bytes) {
            Ok(Frame::Message { address, kind, body }) => {
                let _ = collab::document_name(address);
                match live::parse(kind, body) {
                    Ok(Some(message)) => {
                        let again = live::encode(address, &message);
                        let same = match collab::parse(&again) {
                            Ok(Frame::Message { kind, body, .. }) => live::parse(kind, body),
                            _ => panic!("{message:?} does not survive its own encoding"),
                        };
                        assert_eq!(same, Ok(Some(message)));
                        format!("ours {kind}")
                    }
                    Ok(None) => format!("kind {}", kind.min(99)),
                    Err(error) => error.to_string(),
                }
            }
            Ok(_) => "ping or pong".to_owned(),
            Err(error) => error.to_string(),
        };
        format!("{parsed}, sync: {sync}")
    }
}

/// Frames from the agent, which user code may have taken over.
pub struct Agent;

impl Target for Agent {
    fn name(&self) -> &'static str {
        "agent"
    }

    fn seeds(&mut self, _random: &mut Random) -> Vec<Vec<u8>> {
        let path = |text: &str| RelPath::parse(text).expect("a path");
        let entry = Entry {
            path: path("src/main.py"),
            kind: EntryKind::File,
            executable: false,
            ignored: false,
            signature: Signature { device: 1, inode: 2, size: 3, mtime_ns: 4, ctime_ns: 5 },
        };
        let port = ListeningPort { address: std::net::Ipv4Addr::LOCALHOST.into(), port: 8000 };
        let messages = [
            FromAgent::Event(Event::Changed { paths: vec![path("a"), path("b/c")] }),
            FromAgent::Event(Event::Overflow),
            FromAgent::Event(Event::ScanChunk { id: 3, entries: vec![entry.clone()] }),
            FromAgent::Event(Event::Ports { ports: vec![port] }),
            FromAgent::Response { id: 7, result: Ok(Reply::Done) },
            FromAgent::Response { id: 8, result: Ok(Reply::Entry(Some(entry.clone()))) },
            FromAgent::Response {
                id: 9,
                result: Ok(Reply::Content { content: Bytes::from_static(b"text\n"), entry }),
            },
        ];
        let frame = |message: &FromAgent| {
            let body = rmp_serde::to_vec_named(message).expect("encodes");
            let mut frame = (body.len() as u32).to_le_bytes().to_vec();
            frame.extend(body);
            frame
        };
        messages.iter().map(frame).collect()
    }

    fn read(&mut self, bytes: &[u8]) -> String {
        // Its length as it is, so that the body is looked at.
        let mut bytes = bytes.to_vec();
        if let Some(length) = bytes.len().checked_sub(4) {
            bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
        }
        match tandem_sandbox::link::parse_frame(&bytes) {
            Ok(Some(FromAgent::Response { .. })) => "a response".to_owned(),
            Ok(Some(FromAgent::Event(_))) => "an event".to_owned(),
            Ok(None) => "more is needed".to_owned(),
            Err(error) => error.to_string().chars().take(24).collect(),
        }
    }
}

/// Archives that people upload.
pub struct Zip;

impl Target for Zip {
    fn name(&self) -> &'static str {
        "zip"
    }

    fn seeds(&mut self, _random: &mut Random) -> Vec<Vec<u8>> {
        let archive = |names: &[&str]| {
            let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
            for name in names {
                zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
                zip.write_all(b"some text that can be packed, packed, packed").unwrap();
            }
            zip.finish().unwrap().into_inner()
        };
        vec![archive(&[]), archive(&["a.txt"]), archive(&["src/a.py", "src/b/c.py", "README"])]
    }

    fn read(&mut self, bytes: &[u8]) -> String {
        match tandem_node::archive::zip::unpack(&Bytes::copy_from_slice(bytes)) {
            Ok(entries) => format!("{} entries", entries.len()),
            Err(error) => error.to_string().chars().take(40).collect(),
        }
    }
}
