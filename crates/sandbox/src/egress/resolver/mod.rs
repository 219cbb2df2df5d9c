//! The sandboxes' resolver: asks the node's own, says only what a sandbox may know, and remembers
//! which name an address was given for.

mod message;
mod upstream;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::message::{Addresses, Answer, Outcome, Question};
pub(super) use self::upstream::Upstream;
use super::desk::Desk;
use super::rules;

/// A question is never longer.
const MAX_QUESTION_BYTES: usize = 512;
/// Questions of one sandbox, and of all, that are asked at once; more are not heard, and asked
/// again. One whose questions nobody answers does not take the others' turns.
const AT_ONCE: usize = 16;
const AT_ONCE_OF_ALL: usize = 1024;
/// Sandboxes that are remembered before those at rest are forgotten.
const REMEMBERED: usize = 4096;
/// Questions of one sandbox: so many per second, and so many at once.
const PER_SECOND: f64 = 20.0;
const BURST: f64 = 100.0;
/// An answer is asked for again after this, so that a change of the allow list is soon noticed.
const MAX_SECONDS: u32 = 300;

/// Answers sandboxes until it is told to stop.
pub(super) async fn run(
    socket: UdpSocket,
    upstream: Upstream,
    desk: Arc<Desk>,
    stop: CancellationToken,
) {
    let (socket, slots) = (Arc::new(socket), Arc::new(Semaphore::new(AT_ONCE_OF_ALL)));
    let answers = TaskTracker::new();
    let mut rates = Rates::default();
    let mut bytes = [0; MAX_QUESTION_BYTES];
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => break,
            received = socket.recv_from(&mut bytes) => received,
        };
        // An answer that could not be delivered is told here; it is no reason to stop.
        let Ok((length, from)) = received else { continue };
        let SocketAddr::V4(sandbox) = from else { continue };
        let Some(question) = Question::read(&bytes[..length]) else { continue };
        let Some(turn) = rates.turn(*sandbox.ip()) else { continue };
        let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
        let is_heard = rates.take(*sandbox.ip(), Instant::now());
        let (socket, upstream, desk) = (socket.clone(), upstream.clone(), desk.clone());
        let work = async move {
            let answer = if is_heard {
                answer(&question, *sandbox.ip(), &upstream, &desk).await
            } else {
                desk.refused(*sandbox.ip());
                question.reply(Outcome::Refused)
            };
            desk.asked(*sandbox.ip(), length, answer.len());
            // A sandbox that is gone needs no answer.
            drop(socket.send_to(&answer, from).await);
            drop((turn, slot));
        };
        let stop = stop.clone();
        answers.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }
    answers.close();
    answers.wait().await;
}

async fn answer(
    question: &Question,
    sandbox: Ipv4Addr,
    upstream: &Upstream,
    desk: &Desk,
) -> Vec<u8> {
    if !desk.may_know(sandbox, &question.name) {
        desk.refused(sandbox);
        return question.reply(Outcome::Refused);
    }
    if question.is_for_six() {
        return question.reply(Outcome::Fine);
    }
    if !question.is_for_addresses() {
        return question.reply(Outcome::NotSupported);
    }
    match upstream.ask(question).await {
        Answer::Known(found) => {
            let found = usable(found);
            // Before the sandbox knows them, so that its first packet is let through.
            if desk.told(sandbox, &question.name, &found.addresses).await {
                question.answer(Outcome::Fine, &found)
            } else {
                question.reply(Outcome::ServerFailed)
            }
        }
        Answer::Failed(outcome) => question.reply(outcome),
        Answer::Truncated => question.reply(Outcome::ServerFailed),
    }
}

/// Addresses of private networks are nobody's business, and could not be reached.
fn usable(found: Addresses) -> Addresses {
    let is_usable = |address: &Ipv4Addr| !rules::is_never_reached(*address, &[]);
    Addresses {
        addresses: found.addresses.into_iter().filter(is_usable).collect(),
        seconds: found.seconds.min(MAX_SECONDS),
    }
}

/// How fast each sandbox asks.
#[derive(Debug, Default)]
struct Rates {
    /// What is left at a moment.
    left: HashMap<Ipv4Addr, (f64, Instant)>,
    turns: HashMap<Ipv4Addr, Arc<Semaphore>>,
}

impl Rates {
    /// One of the sandbox's questions that may be asked at once.
    fn turn(&mut self, sandbox: Ipv4Addr) -> Option<OwnedSemaphorePermit> {
        if self.turns.len() > REMEMBERED {
            self.turns.retain(|_, turns| turns.available_permits() < AT_ONCE);
        }
        let turns = self.turns.entry(sandbox).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE)));
        turns.clone().try_acquire_owned().ok()
    }

    fn take(&mut self, sandbox: Ipv4Addr, now: Instant) -> bool {
        let refilled = |left: f64, since: Instant| {
            let time = now.saturating_duration_since(since).as_secs_f64();
            (left + time * PER_SECOND).min(BURST)
        };
        // No more than sandboxes, of which there are a few thousand; those at rest are forgotten.
        let full = Duration::from_secs_f64(BURST / PER_SECOND);
        if self.left.len() > REMEMBERED {
            self.left.retain(|_, (_, since)| now.saturating_duration_since(*since) < full);
        }
        let (left, since) = self.left.entry(sandbox).or_insert((BURST, now));
        let now_left = refilled(*left, *since);
        let is_heard = now_left >= 1.0;
        (*left, *since) = (if is_heard { now_left - 1.0 } else { now_left }, now);
        is_heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sandbox_does_not_ask_for_all() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let [one, other] = [2, 3].map(|last| Ipv4Addr::new(10, 111, 0, last));
        let heard = (0..1000).filter(|_| rates.take(one, start)).count();
        assert_eq!(heard, BURST as usize);
        assert!(rates.take(other, start));
        let later = start + Duration::from_secs(1);
        let heard = (0..1000).filter(|_| rates.take(one, later)).count();
        assert_eq!(heard, PER_SECOND as usize);
    }

    #[test]
    fn one_whose_questions_hang_does_not_take_the_others_turns() {
        let mut rates = Rates::default();
        let [one, other] = [2, 3].map(|last| Ipv4Addr::new(10, 111, 0, last));
        let mut held: Vec<_> = (0..100).filter_map(|_| rates.turn(one)).collect();
        assert_eq!(held.len(), AT_ONCE);
        assert!(rates.turn(other).is_some());
        held.pop();
        assert!(rates.turn(one).is_some());
    }

    #[test]
    fn private_addresses_are_not_told() {
        let found = Addresses {
            addresses: vec![Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(198, 18, 1, 1)],
            seconds: 86_400,
        };
        let told = usable(found);
        assert_eq!(told.addresses, [Ipv4Addr::new(198, 18, 1, 1)]);
        assert_eq!(told.seconds, MAX_SECONDS);
    }
}
