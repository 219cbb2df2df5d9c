//! Somebody who types in one file, comes and goes, and remembers what was promised.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rand::Rng as _;
use rand::rngs::StdRng;
use tandem_proto::id::FileId;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite;

use super::ledger::{Holder, Ledger};
use super::places::Places;
use super::wire::{Copy, Ended, Place, Protocol, Wire};
use crate::{Api, Closed};

/// What all are told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Type.
    Type,
    /// Stay connected and say nothing, and show what is on the screen.
    Hush,
    /// Go on without a connection.
    Offline,
}

/// What is on a person's screen.
#[derive(Debug, Clone, Default)]
pub(super) struct Screen {
    pub(super) connected: bool,
    pub(super) file: Option<FileId>,
    pub(super) text: String,
    /// The last reason for not being connected.
    pub(super) trouble: String,
}

/// A person's name tag, for who gives the orders.
pub(super) struct Seat {
    pub(super) name: String,
    pub(super) slot: usize,
    pub(super) only_looks: bool,
    pub(super) orders: watch::Sender<Order>,
    pub(super) screen: Arc<Mutex<Screen>>,
}

impl Seat {
    pub(super) fn screen(&self) -> Screen {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Who a person is.
pub(super) struct Character {
    pub(super) name: String,
    pub(super) protocol: Protocol,
    /// Types; else only looks.
    pub(super) types: bool,
    pub(super) api: Api,
    pub(super) repl: String,
    pub(super) slot: usize,
    pub(super) places: Places,
    pub(super) ledger: Ledger,
    pub(super) random: StdRng,
}

pub(super) struct Person {
    who: Character,
    orders: watch::Receiver<Order>,
    screen: Arc<Mutex<Screen>>,
    copy: Copy,
    wire: Option<Wire>,
    file: Option<FileId>,
    /// Lines that are not acked, and the number of the edit that brings them.
    waiting: Vec<(u64, String)>,
    /// The same for those not known to be in the blob store.
    unstored: Vec<(u64, String)>,
    typed: u64,
    next: Instant,
}

impl Person {
    pub(super) fn new(who: Character) -> (Self, Seat) {
        let (sender, orders) = watch::channel(Order::Type);
        let screen = Arc::new(Mutex::new(Screen::default()));
        let seat = Seat {
            name: who.name.clone(),
            slot: who.slot,
            only_looks: !who.types,
            orders: sender,
            screen: Arc::clone(&screen),
        };
        let person = Self {
            who,
            orders,
            screen,
            copy: Copy::default(),
            wire: None,
            file: None,
            waiting: Vec::new(),
            unstored: Vec::new(),
            typed: 0,
            next: Instant::now(),
        };
        (person, seat)
    }

    /// Lives until nobody gives orders any more.
    pub(super) async fn run(mut self) {
        loop {
            if self.orders.has_changed().is_err() {
                // Whoever took this seat is another one: this browser is closed for good.
                return self.who.ledger.died(&self.who.name);
            }
            let order = *self.orders.borrow_and_update();
            match order {
                Order::Offline => {
                    self.disconnect();
                    self.type_offline();
                    self.pause(20, 60).await;
                }
                Order::Type | Order::Hush => {
                    if let Err(error) = self.turn(order).await {
                        self.troubled(&error);
                        self.pause(30, 300).await;
                    }
                }
            }
        }
    }

    async fn turn(&mut self, order: Order) -> Result<()> {
        if self.wire.is_none() {
            self.connect().await?;
        }
        let step = Duration::from_millis(self.who.random.random_range(5..40));
        let Some(wire) = &mut self.wire else { return Ok(()) };
        let listened = wire.listen(step).await;
        self.take_acks();
        listened?;
        if order == Order::Type && self.who.types && self.next <= Instant::now() {
            self.type_once().await?;
        }
        if order == Order::Hush
            && let Some(wire) = &mut self.wire
        {
            let text = wire.replica()?.text();
            let screen = Screen { connected: true, file: self.file, text, trouble: String::new() };
            *self.screen.lock().unwrap_or_else(PoisonError::into_inner) = screen;
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<()> {
        let (file, path) = self.who.places.find(self.who.slot, self.file)?;
        if self.file.is_some_and(|before| before != file) {
            // Another file is there now: its history is not ours.
            self.copy = Copy::default();
        }
        self.file = Some(file);
        let before = self.copy.identity;
        let place = Place { repl: &self.who.repl, file, path: &path };
        let opened = Wire::open(self.who.protocol, &self.who.api, place, &mut self.copy).await;
        let mut wire =
            opened.with_context(|| format!("open {path} over {:?}", self.who.protocol))?;
        let identity = wire.identity();
        if before.is_some() && before != identity {
            self.who.ledger.restarted();
        }
        self.copy.identity = identity;
        // What was not acked is in the first edit of the connection, or the server has it.
        let sent = wire.acks().map_or(0, |acks| acks.sent).max(1);
        for (number, _) in self.waiting.iter_mut().chain(&mut self.unstored) {
            *number = sent;
        }
        self.wire = Some(wire);
        self.type_what_is_missing().await
    }

    /// After a document was begun anew: what this person wrote and nobody has is typed again.
    async fn type_what_is_missing(&mut self) -> Result<()> {
        let Some(wire) = &mut self.wire else { return Ok(()) };
        let text = wire.replica()?.text();
        let there: std::collections::HashSet<&str> = text.lines().map(str::trim).collect();
        let own = self.who.ledger.of(&self.who.name);
        let missing: Vec<_> = own.iter().filter(|line| !there.contains(line.as_str())).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let lines: String = missing.iter().map(|line| format!("{line}\n")).collect();
        let update = wire.replica()?.insert(0, &lines);
        wire.send(&update).await
    }

    fn disconnect(&mut self) {
        if let Some(wire) = self.wire.take() {
            wire.leave(&mut self.copy);
        }
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).connected = false;
    }

    /// A connection that broke is an everyday thing; anything else is the server's fault.
    fn troubled(&mut self, error: &anyhow::Error) {
        self.disconnect();
        let text = format!("{error:#}");
        if let Some(ended) = error.downcast_ref::<Ended>() {
            if ended.is_reset {
                self.copy = Copy::default();
            }
            // A reader may hold an edit that the server lost before it was fsynced: it is not the
            // reader's to bring back.
            if ended.is_reset && self.who.types {
                self.who.ledger.violated(format!("{}: {text}", self.who.name));
            }
        } else if error.downcast_ref::<Closed>().is_none()
            && error.downcast_ref::<tungstenite::Error>().is_none()
            && error.downcast_ref::<std::io::Error>().is_none()
            && ["decode", "apply", "unexpected", "malformed", "too many", "more than one"]
                .iter()
                .any(|word| text.contains(word))
        {
            self.who.ledger.violated(format!("{}: {text}", self.who.name));
        }
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).trouble = text;
    }

    fn take_acks(&mut self) {
        let Some(acks) = self.wire.as_mut().and_then(Wire::acks) else { return };
        for (_, line) in self.waiting.extract_if(.., |(number, _)| *number <= acks.fsynced) {
            self.who.ledger.acked(&line);
        }
        for (_, line) in self.unstored.extract_if(.., |(number, _)| *number <= acks.stored) {
            self.who.ledger.stored(&line);
        }
    }

    async fn type_once(&mut self) -> Result<()> {
        let pause = self.who.random.random_range(20..600);
        self.next = Instant::now() + Duration::from_millis(pause);
        let Some(mut wire) = self.wire.take() else { return Ok(()) };
        let number = wire.acks().map_or(0, |acks| acks.sent) + 1;
        let edited = match wire.replica() {
            Ok(replica) => Ok(edit(&mut self.who, &mut self.typed, replica)),
            Err(error) => Err(error),
        };
        let sent = match edited {
            Ok((update, lines)) => {
                self.waiting.extend(lines.iter().map(|line| (number, line.clone())));
                self.unstored.extend(lines.into_iter().map(|line| (number, line)));
                wire.send(&update).await
            }
            Err(error) => Err(error),
        };
        self.wire = Some(wire);
        sent
    }

    fn type_offline(&mut self) {
        if self.who.types && self.next <= Instant::now() && self.copy.replica.length() > 0 {
            let pause = self.who.random.random_range(50..800);
            self.next = Instant::now() + Duration::from_millis(pause);
            let (_, lines) = edit(&mut self.who, &mut self.typed, &mut self.copy.replica);
            self.waiting.extend(lines.iter().map(|line| (1, line.clone())));
            self.unstored.extend(lines.into_iter().map(|line| (1, line)));
        }
    }

    async fn pause(&mut self, from_ms: u64, to_ms: u64) {
        let pause = Duration::from_millis(self.who.random.random_range(from_ms..to_ms));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // A new order, or nobody to give one: the loop looks.
            _ = self.orders.changed() => {}
        }
    }
}

/// One edit of a person; the update and the new lines. Whole lines only, so that every line can be
/// found again.
fn edit(
    who: &mut Character,
    typed: &mut u64,
    replica: &mut crate::Replica,
) -> (Vec<u8>, Vec<String>) {
    let text = replica.text();
    let mut line = || {
        *typed += 1;
        let line = format!("{}-{typed}", who.name);
        who.ledger.typed(&line, who.slot, &who.name, Holder::Person);
        line
    };
    let starts = |text: &str| -> Vec<usize> {
        std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
    };
    match who.random.random_range(0..100) {
        0..10 => {
            // Deletes a line of its own again.
            let own = format!("{}-", who.name);
            let lines: Vec<usize> =
                starts(&text).into_iter().filter(|at| text[*at..].starts_with(&own)).collect();
            if !lines.is_empty() {
                let at = lines[who.random.random_range(0..lines.len())];
                let end = text[at..].find('\n').map_or(text.len(), |end| at + end + 1);
                who.ledger.removed(text[at..end].trim());
                return (
                    replica.remove(units(&text, at), units(&text[at..end], end - at)),
                    Vec::new(),
                );
            }
            let line = line();
            (replica.append(&format!("{line}\n")), vec![line])
        }
        10..15 => {
            let lines: Vec<String> = (0..20).map(|_| line()).collect();
            (replica.insert(0, &(lines.join("\n") + "\n")), lines)
        }
        15..60 => {
            let line = line();
            // A last line without its end would run into the new one.
            let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            (replica.append(&format!("{end}{line}\n")), vec![line])
        }
        _ => {
            let line = line();
            let starts = starts(&text);
            let at = starts[who.random.random_range(0..starts.len())];
            if at == text.len() && !text.is_empty() && !text.ends_with('\n') {
                return (replica.append(&format!("\n{line}\n")), vec![line]);
            }
            (replica.insert(units(&text, at), &format!("{line}\n")), vec![line])
        }
    }
}

/// UTF-16 units of the first `bytes` bytes.
fn units(text: &str, bytes: usize) -> u32 {
    text[..bytes].encode_utf16().count() as u32
}
