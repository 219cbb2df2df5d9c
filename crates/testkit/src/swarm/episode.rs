//! One episode: a server, its people and programs, and what befalls them.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tandem_proto::role::Role;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::ledger::Ledger;
use super::person::{Character, Order, Person, Seat};
use super::places::{Places, mark};
use super::plan::{Act, Fall, Plan, Program};
use super::programs::Programs;
use super::wire::{Place, Protocol};
use super::{SwarmReport, hostile, oracle};
use crate::{Api, FaultProxy, JumpingClock, LIMIT, Options, S3Server, Scope, Server, eventually};

/// How long things happen before everybody comes to rest.
const LENGTH: Duration = Duration::from_secs(45);
/// Programs that wait for an earlier one; more are left out.
const PROGRAMS: usize = 2;

/// One repl and who is in it.
pub(super) struct Repl {
    pub(super) id: String,
    pub(super) editor: Api,
    viewer: Api,
    pub(super) places: Places,
    programs: mpsc::Sender<(usize, Program)>,
}

pub(super) struct Episode {
    plan: Plan,
    pub(super) server: Server,
    pub(super) api: Api,
    pub(super) repls: Vec<Repl>,
    pub(super) seats: Vec<Seat>,
    pub(super) ledger: Ledger,
    pub(super) report: SwarmReport,
    people: JoinSet<()>,
    /// Programs of each repl; they end with their channel and count how many ran well.
    programs: JoinSet<u64>,
    /// Everything else that goes on; what it counts are moves.
    errands: JoinSet<Errand>,
    returns: Vec<(Instant, usize)>,
    born: usize,
    storm: Option<Instant>,
    s3: Option<(S3Server, FaultProxy)>,
    /// Absent where there is no C compiler.
    clock: Option<JumpingClock>,
}

/// What an errand did.
enum Errand {
    Other,
    Moved,
    Attacked(u64),
}

/// Runs the episode of a seed.
pub(super) async fn run(seed: u64, log: &Path) -> Result<SwarmReport> {
    let mut episode = Episode::begin(seed, log).await?;
    let end = Instant::now() + LENGTH;
    while Instant::now() < end {
        let (pause, act) = episode.plan.next();
        tokio::time::sleep(pause).await;
        note(log, &act);
        episode.do_act(&act).await.with_context(|| format!("{act:?}"))?;
        episode.give_orders();
        let violations = episode.ledger.violations();
        anyhow::ensure!(violations.is_empty(), "{violations:#?}");
    }
    episode.rest().await
}

/// Writes an act among what the server says.
fn note(log: &Path, act: &Act) {
    use std::io::Write as _;
    if let Ok(mut file) = std::fs::OpenOptions::new().append(true).create(true).open(log) {
        // It only helps to read the log.
        let _ = writeln!(file, "---- {act:?}");
    }
}

impl Episode {
    async fn begin(seed: u64, log: &Path) -> Result<Self> {
        let plan = Plan::new(seed, S3Server::is_installed());
        let setting = plan.setting().clone();
        let mut options = Options {
            idle_grace: setting.idle_grace.to_owned(),
            log_file: Some(log.to_owned()),
            ..Options::default()
        };
        let s3 = if setting.on_s3 {
            let s3 = S3Server::start().await?;
            let proxy = FaultProxy::start(s3.address()).await?;
            options.blob_store = Some(s3.blob_store_at(proxy.address()));
            options.env = s3.env();
            Some((s3, proxy))
        } else {
            None
        };
        let clock = JumpingClock::new().ok();
        options.env.extend(clock.iter().flat_map(JumpingClock::env));
        let server = Server::start_with(options).await?;
        let api = server.api();
        let mut this = Self {
            plan,
            server,
            api,
            repls: Vec::new(),
            seats: Vec::new(),
            ledger: Ledger::default(),
            report: SwarmReport { episodes: 1, ..SwarmReport::default() },
            people: JoinSet::new(),
            programs: JoinSet::new(),
            errands: JoinSet::new(),
            returns: Vec::new(),
            born: 0,
            storm: None,
            s3,
            clock,
        };
        for repl in 0..setting.repls {
            this.make_repl(repl, setting.files).await.context("make a repl")?;
        }
        for slot in 0..setting.repls * setting.files {
            for seat in 0..setting.people {
                this.seat(slot, seat == 0);
            }
        }
        Ok(this)
    }

    async fn make_repl(&mut self, number: usize, files: usize) -> Result<()> {
        let id = self.api.create("python").await?.id.to_string();
        let mut live = self.api.live(&id).await?;
        for slot in number * files..(number + 1) * files {
            let path = format!("{}txt", mark(slot));
            self.api.write(&id, &path, format!("begin of {slot}\n")).await?;
            live.join(&path).await?;
            live.append(&path, "all of this is stored before anything happens\n").await?;
            live.stored(&path).await?;
        }
        self.api.write(&id, "mortal.txt", "may be deleted\n").await?;
        let places = Places::default();
        places.refresh(&self.api, &id).await?;
        let editor = self.server.guest(&id, Role::Editor).await?;
        let viewer = self.server.guest(&id, Role::Viewer).await?;
        let (sender, mut inbox) = mpsc::channel(PROGRAMS);
        let ledger = self.ledger.clone();
        let mut programs = Programs::new(editor.clone(), id.clone(), places.clone(), ledger);
        self.programs.spawn(async move {
            let mut ran = 0;
            while let Some((slot, program)) = inbox.recv().await {
                // The server may be away or the file elsewhere: then nothing is owed.
                ran += u64::from(programs.run(slot, program).await.is_ok());
            }
            ran
        });
        let (api, repl, looking) = (self.api.clone(), id.clone(), places.clone());
        self.people.spawn(async move {
            loop {
                // While the server is away the last look is good enough.
                let _ = looking.refresh(&api, &repl).await;
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
        });
        self.repls.push(Repl { id, editor, viewer, places, programs: sender });
        Ok(())
    }

    /// Somebody comes.
    fn seat(&mut self, slot: usize, only_looks: bool) {
        let repl = &self.repls[slot / self.plan.setting().files];
        let number = self.born;
        self.born += 1;
        let protocol = match number % 4 {
            1 if !only_looks => Protocol::YWebsocket,
            2 if !only_looks => Protocol::Hocuspocus,
            _ => Protocol::Live,
        };
        let (person, seat) = Person::new(Character {
            name: format!("w{number}"),
            protocol,
            types: !only_looks,
            api: if only_looks { repl.viewer.clone() } else { repl.editor.clone() },
            repl: repl.id.clone(),
            slot,
            places: repl.places.clone(),
            ledger: self.ledger.clone(),
            random: StdRng::seed_from_u64(self.plan.seed()),
        });
        self.people.spawn(person.run());
        self.seats.push(seat);
    }

    /// The id of the repl that a slot's file is in.
    pub(super) fn repl_of(&self, slot: usize) -> &str {
        &self.slot_repl(slot).id
    }

    fn slot_repl(&self, slot: usize) -> &Repl {
        &self.repls[slot / self.plan.setting().files]
    }

    async fn do_act(&mut self, act: &Act) -> Result<()> {
        match act {
            Act::Fall { how, down, twice } => {
                self.fall(*how, *down).await?;
                if *twice {
                    self.fall(Fall::Kill, Duration::ZERO).await?;
                }
            }
            Act::Freeze { time, then_kill } => {
                self.report.freezes += 1;
                self.server.freeze()?;
                tokio::time::sleep(*time).await;
                if *then_kill {
                    self.fall(Fall::Kill, Duration::ZERO).await?;
                } else {
                    self.server.thaw()?;
                }
            }
            Act::Offline { person, time } => {
                if let Some(seat) = self.seats.get(*person) {
                    seat.orders.send_replace(Order::Offline);
                    self.returns.push((Instant::now() + *time, *person));
                }
            }
            Act::Die { person } => self.replace(*person),
            Act::Program { slot, program } => {
                // Too many wait already: this one is left out.
                let _ = self.slot_repl(*slot).programs.try_send((*slot, *program));
            }
            Act::Move { slot } => self.move_file(*slot),
            Act::Run { repl } => {
                let repl = &self.repls[*repl];
                let (api, id) = (repl.editor.clone(), repl.id.clone());
                self.errands.spawn(async move {
                    // The server may be away.
                    let _ = tokio::time::timeout(LIMIT, api.run(&id, None)).await;
                    Errand::Other
                });
            }
            Act::Hostile { slot, count } => self.attack(*slot, *count),
            Act::Clock { seconds } => {
                if let Some(clock) = &self.clock {
                    // S3 itself refuses whose clock is a quarter of an hour off.
                    let seconds = if self.s3.is_some() { *seconds % 600 } else { *seconds };
                    clock.jump(seconds)?;
                    self.report.jumps += 1;
                }
            }
            Act::Weather { weather, time } => {
                if let Some((_, proxy)) = &self.s3 {
                    let (fault, percent) = weather.fault();
                    proxy.set_for(fault, Scope::All, percent);
                    self.storm = Some(Instant::now() + *time);
                    self.report.weathers += 1;
                }
            }
        }
        Ok(())
    }

    async fn fall(&mut self, how: Fall, down: Duration) -> Result<()> {
        match how {
            Fall::Kill => {
                self.server.kill().await?;
                self.report.kills += 1;
            }
            Fall::Stop => {
                let stopped = self.server.stop().await?;
                anyhow::ensure!(stopped.code == Some(0), "the server stopped with {stopped:?}");
                self.report.stops += 1;
            }
            Fall::Update => {
                self.server.stop_for_update().await?;
                self.report.stops += 1;
            }
            Fall::Lose => {
                // A server on an empty disk needs the store to begin with.
                self.clear_sky();
                self.server.kill().await?;
                self.ledger.machine_lost();
                self.server.lose().await?;
                self.report.losses += 1;
            }
        }
        tokio::time::sleep(down).await;
        let mut restarted = self.server.restart().await;
        if restarted.is_err() && self.storm.is_some() {
            // A server that cannot look at its store does not begin; whoever runs it tries again.
            self.clear_sky();
            restarted = self.server.restart().await;
        }
        restarted.with_context(|| format!("restart after {how:?}"))
    }

    fn clear_sky(&mut self) {
        self.storm = None;
        if let Some((_, proxy)) = &self.s3 {
            proxy.clear();
        }
    }

    /// A browser is closed for good, and somebody else comes.
    fn replace(&mut self, person: usize) {
        let Some(seat) = self.seats.get(person) else { return };
        let (slot, only_looks) = (seat.slot, seat.only_looks);
        self.seat(slot, only_looks);
        let fresh = self.seats.len() - 1;
        self.seats.swap(person, fresh);
        self.seats.truncate(fresh);
        self.returns.retain(|(_, returning)| *returning != person);
    }

    fn move_file(&mut self, slot: usize) {
        let repl = self.slot_repl(slot);
        let Ok((_, path)) = repl.places.find(slot, None) else { return };
        let number = self.report.moves + self.errands.len() as u64;
        let folder = ["", "one/", "two/deep/"][number as usize % 3];
        let to = format!("{folder}{}m{number}.txt", mark(slot));
        let (api, id) = (repl.editor.clone(), repl.id.clone());
        self.errands.spawn(async move {
            // The server may be away, or the file elsewhere.
            match tokio::time::timeout(LIMIT, api.rename(&id, &path, &to)).await {
                Ok(Ok(())) => Errand::Moved,
                _ => Errand::Other,
            }
        });
    }

    fn attack(&mut self, slot: usize, count: usize) {
        let mut random = StdRng::seed_from_u64(self.plan.seed());
        let repl = self.slot_repl(slot);
        let Ok((file, path)) = repl.places.find(slot, None) else { return };
        let (api, id) = (repl.editor.clone(), repl.id.clone());
        self.errands.spawn(async move {
            let place = Place { repl: &id, file, path: &path };
            // The server may be away.
            let sent = hostile::attack(&api, place, &mut random, count).await;
            Errand::Attacked(sent.unwrap_or_default())
        });
    }

    /// Who was offline for long enough comes back.
    fn give_orders(&mut self) {
        let now = Instant::now();
        for (_, person) in self.returns.extract_if(.., |(at, _)| *at <= now) {
            if let Some(seat) = self.seats.get(person) {
                seat.orders.send_replace(Order::Type);
            }
        }
        if self.storm.is_some_and(|until| until <= now) {
            self.clear_sky();
        }
    }

    /// Everybody comes back and falls silent; then everything is compared, also with what the blob
    /// store alone brings back.
    async fn rest(mut self) -> Result<SwarmReport> {
        self.clear_sky();
        for seat in &self.seats {
            seat.orders.send_replace(Order::Hush);
        }
        // Programs end before the texts are compared.
        for repl in &mut self.repls {
            repl.programs = mpsc::channel(1).0;
        }
        while let Some(ran) = self.programs.join_next().await {
            self.report.programs += ran?;
        }
        while let Some(errand) = self.errands.join_next().await {
            match errand? {
                Errand::Other => {}
                Errand::Moved => self.report.moves += 1,
                Errand::Attacked(sent) => self.report.hostile += sent,
            }
        }
        let texts = oracle::at_rest(&self).await?;
        let account = oracle::account(&self, &texts)?;
        self.report.typed = account.typed as u64;
        self.report.acked = account.acked as u64;
        self.report.returned = account.returned as u64;
        self.report.restarts = self.ledger.restarts();

        oracle::history_ends_in_the_present(&self).await?;

        self.people.shutdown().await;
        // A repl that is just closing because everybody left answers that it is.
        let before = eventually("everything can be read before the end", LIMIT, || async {
            oracle::served(&self).await.map(Some)
        })
        .await?;
        let stopped = self.server.stop().await?;
        anyhow::ensure!(stopped.code == Some(0), "the server stopped with {stopped:?}");
        self.server.lose().await?;
        self.server.restart().await.context("restart on an empty disk")?;
        let what = "the restored texts are those that were there";
        let restored = eventually(what, LIMIT * 2, || async {
            let restored = oracle::served(&self).await?;
            Ok((restored == before).then_some(()))
        });
        if let Err(error) = restored.await {
            let restored = oracle::served(&self).await;
            anyhow::bail!("{error:#}: before {before:#?}, restored {restored:#?}");
        }
        Ok(self.report)
    }
}
