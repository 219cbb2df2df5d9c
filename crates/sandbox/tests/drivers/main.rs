//! All drivers against one suite, with real sandboxes.
//!
//! Root's rights are a process's own and are given up once, so every case runs in a process of
//! its own: this executable again, as the server, as its launcher, and (where the product's own
//! agent is not built yet) as the agent inside.

mod attacks;
mod bench;
mod cases;
mod launcher;
mod network;
mod stand_in;
#[path = "../egress/world.rs"]
mod world;

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bench::{Case, Mode, Phase};
use tandem_testkit::DockerDaemon;

/// The longest a phase of a case may take.
const LIMIT: Duration = Duration::from_secs(90);
/// An ordinary user for root's tests; no other process has it.
const ORDINARY_UID: u32 = 199_000;
/// Cases at once, unless `--test-threads=1` is given.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("launch") => match tandem_sandbox::launcher::run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("launcher: {error}");
                ExitCode::FAILURE
            }
        },
        Some("run-case") => bench::run(&arguments[2..]),
        None if std::env::var_os("TANDEM_SANDBOX").is_some() => stand_in::run(),
        _ => harness(&arguments[1..]),
    }
}

fn harness(arguments: &[String]) -> ExitCode {
    // Values of options such as `--test-threads 2` are numbers.
    let is_filter = |word: &&String| !word.starts_with('-') && word.parse::<u32>().is_err();
    let filters: Vec<&String> = arguments.iter().filter(is_filter).collect();
    let is_root = rustix::process::geteuid().is_root();
    let mut work = Vec::new();
    for case in bench::all() {
        for mode in case.modes {
            let name = format!("{}::{}", mode.name(), case.name);
            if filters.is_empty() || filters.iter().any(|filter| name.contains(*filter)) {
                work.push((name, *mode, case));
            }
        }
    }
    if arguments.iter().any(|word| word == "--list") {
        work.iter().for_each(|(name, ..)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("its mode");
    // The build folder may be inside a private home.
    let executable = folder.path().join("drivers");
    std::fs::copy(std::env::current_exe().expect("this executable"), &executable).expect("a copy");
    let agent = agent(folder.path(), &executable);
    println!("agent: {}", agent.display());
    if agent == executable {
        println!("left out: what needs the product's own agent; build it first");
    }

    let failed = Mutex::new(Vec::new());
    let total = work.len();
    let is_wanted = filters.is_empty() || filters.iter().any(|word| launcher::NAME.contains(*word));
    if is_root && is_wanted {
        match launcher::bad_requests_are_refused(&executable, &agent, folder.path()) {
            Ok(()) => println!("test {} ... ok", launcher::NAME),
            Err(error) => {
                println!("test {} ... FAILED\n{error:#}", launcher::NAME);
                failed.lock().expect("the list").push(launcher::NAME.to_owned());
            }
        }
    }
    // Started by this thread, which outlives it.
    let docker = Docker::start(work.iter().any(|(_, mode, _)| mode.is_docker()));
    let queue = Mutex::new(work.into_iter());
    std::thread::scope(|scope| {
        let alone = arguments.iter().any(|word| word == "--test-threads=1");
        for _ in 0..if alone { 1 } else { THREADS } {
            scope.spawn(|| {
                loop {
                    let Some((name, mode, case)) = queue.lock().expect("the queue").next() else {
                        return;
                    };
                    if matches!(mode, Mode::Launcher | Mode::Network) && !is_root {
                        println!("test {name} ... ignored\nleft out: {name} needs root");
                        continue;
                    }
                    if let (true, Docker::Missing(why)) = (mode.is_docker(), &docker) {
                        println!("test {name} ... ignored\nleft out: {why}");
                        continue;
                    }
                    let started = Instant::now();
                    let programs = Programs { executable: &executable, agent: &agent };
                    let result = run_case(mode, &case, &programs, docker.socket());
                    let took = started.elapsed().as_millis();
                    match result {
                        Ok(said) => println!("test {name} ... ok ({took} ms){said}"),
                        Err(why) => {
                            println!("test {name} ... FAILED ({took} ms)\n{why}");
                            failed.lock().expect("the list").push(name);
                        }
                    }
                }
            });
        }
    });
    drop(docker);
    let failed = failed.into_inner().expect("the list");
    let (passed, number) = (total.saturating_sub(failed.len()), failed.len());
    if failed.is_empty() {
        println!("test result: ok. {passed} passed; 0 failed");
        ExitCode::SUCCESS
    } else {
        println!("test result: FAILED. {passed} passed; {number} failed: {}", failed.join(", "));
        ExitCode::FAILURE
    }
}

/// The product's own agent where it is built beside this test, else the stand-in.
fn agent(folder: &Path, stand_in: &Path) -> PathBuf {
    let exe = std::env::current_exe().expect("this executable");
    let built = exe.ancestors().nth(2).map(|target| target.join("tandem-agent"));
    let real = std::env::var_os("TANDEM_TEST_AGENT").map(PathBuf::from).or(built);
    match real.filter(|path| path.is_file()) {
        Some(path) => {
            let copy = folder.join("tandem-agent");
            std::fs::copy(path, &copy).expect("a copy of the agent");
            copy
        }
        None => stand_in.to_owned(),
    }
}

/// The daemon that the cases with Docker share.
enum Docker {
    Runs(DockerDaemon),
    Missing(String),
}

impl Docker {
    fn start(is_wanted: bool) -> Self {
        if !is_wanted {
            return Self::Missing("not wanted".into());
        }
        match DockerDaemon::missing() {
            Some(why) => Self::Missing(why),
            None => Self::Runs(DockerDaemon::start(&[]).expect("a Docker daemon")),
        }
    }

    fn socket(&self) -> PathBuf {
        match self {
            Self::Runs(daemon) => daemon.socket(),
            Self::Missing(_) => PathBuf::new(),
        }
    }
}

/// What a case runs.
struct Programs<'a> {
    executable: &'a Path,
    agent: &'a Path,
}

fn run_case(
    mode: Mode,
    case: &Case,
    programs: &Programs<'_>,
    docker: PathBuf,
) -> Result<String, String> {
    let data = tempfile::tempdir().map_err(|error| error.to_string())?;
    let result = run_phases(mode, case, programs, (&data, &docker));
    end_what_is_left(&data.path().join("data"));
    result
}

/// A case that failed may have left sandboxes, and nobody else ends them.
fn end_what_is_left(data_dir: &Path) {
    for entry in std::fs::read_dir(data_dir.join("sandboxes")).into_iter().flatten().flatten() {
        let record = std::fs::read(entry.path().join("record.json")).unwrap_or_default();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap_or_default();
        let pid = record["agent"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

fn run_phases(
    mode: Mode,
    case: &Case,
    &Programs { executable, agent }: &Programs<'_>,
    (data, docker): (&tempfile::TempDir, &Path),
) -> Result<String, String> {
    let data_dir = data.path().join("data");
    std::fs::create_dir(&data_dir).map_err(|error| error.to_string())?;
    std::fs::set_permissions(data.path(), PermissionsExt::from_mode(0o755))
        .map_err(|error| error.to_string())?;
    let drop_by_hand = mode == Mode::User && rustix::process::geteuid().is_root();
    if drop_by_hand {
        chown(&data_dir, Some(ORDINARY_UID), Some(ORDINARY_UID)).map_err(|e| e.to_string())?;
    }
    let mut said = String::new();
    for (index, phase) in case.phases.iter().enumerate() {
        let mut command = if drop_by_hand {
            let mut command = Command::new("setpriv");
            let uid = ORDINARY_UID.to_string();
            command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups"]).arg(executable);
            command
        } else {
            Command::new(executable)
        };
        command
            .args(["run-case", mode.name(), case.name, &index.to_string()])
            .arg(&data_dir)
            .arg(agent)
            .env("RUST_BACKTRACE", "0")
            .env(bench::DOCKER_SOCKET, docker)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir("/");
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let deadline = Instant::now() + LIMIT;
        let mut timed_out = false;
        let status = loop {
            match child.try_wait().map_err(|error| error.to_string())? {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    timed_out = true;
                    let _ = child.kill();
                    break child.wait().map_err(|error| error.to_string())?;
                }
                None => {
                    kill_if_asked(&data_dir);
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        };
        let output = read_what_is_there(child);
        let is_good = match phase {
            Phase::ToTheEnd(_) => status.success(),
            // It ends itself by SIGKILL when it has come to its end.
            Phase::Killed(_) => {
                use std::os::unix::process::ExitStatusExt;
                status.signal() == Some(9) && !timed_out
            }
        };
        if !is_good {
            let late = if timed_out { " (out of time)" } else { "" };
            return Err(format!("phase {index}: {status}{late}\n{output}"));
        }
        if let Some(line) = output.lines().find(|line| line.starts_with("measured:")) {
            said = format!(" {line}");
        }
    }
    Ok(said)
}

fn kill_if_asked(data_dir: &Path) {
    let request = data_dir.join(bench::KILL);
    let Ok(pid) = std::fs::read_to_string(&request) else { return };
    let _ = std::fs::remove_file(&request);
    if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// What a process said. A sandbox that it left behind must not hold its output open.
fn read_what_is_there(child: std::process::Child) -> String {
    use std::io::Read;
    let mut text = String::new();
    if let Some(mut out) = child.stdout {
        let _ = out.read_to_string(&mut text);
    }
    if let Some(mut err) = child.stderr {
        let _ = err.read_to_string(&mut text);
    }
    text
}
