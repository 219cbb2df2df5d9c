//! An agent of the least that the cases need: it runs commands without a terminal.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tandem_proto::TerminalId;
use tandem_proto::agent::{
    AgentError, Dial, Exit, FromAgent, Hello, Op, Reply, SOCKET_DIR, SOCKET_NAME, Spawn,
    StreamTarget, TerminalOutput, ToAgent, Usage, VERSION,
};

type Done = (Vec<u8>, Exit);

static DONE: Mutex<Vec<(TerminalId, Done)>> = Mutex::new(Vec::new());

pub fn run() -> ExitCode {
    // As the product's own: user code runs under the same user id.
    let hidden = rustix::process::DumpableBehavior::NotDumpable;
    let _ = rustix::process::set_dumpable_behavior(hidden);
    let path = std::env::var("TANDEM_AGENT_SOCKET")
        .unwrap_or_else(|_| format!("{SOCKET_DIR}/{SOCKET_NAME}"));
    if let Ok(workspace) = std::env::var("TANDEM_WORKSPACE") {
        let _ = std::fs::create_dir_all(&workspace);
        let _ = std::env::set_current_dir(&workspace);
    }
    // Without a server for 30 s it ends, as the product's own does after longer.
    for _ in 0..1500 {
        let _ = serve(&path);
        std::thread::sleep(Duration::from_millis(20));
    }
    ExitCode::FAILURE
}

fn serve(path: &str) -> io::Result<()> {
    let sandbox = std::env::var("TANDEM_SANDBOX").ok().and_then(|id| id.parse().ok());
    let sandbox = sandbox.ok_or_else(|| io::Error::other("no id"))?;
    let mut control = UnixStream::connect(path)?;
    let hello =
        Hello { version: VERSION, sandbox, terminals: Vec::new(), filled: false, scrollback: true };
    write(&mut control, &Dial::Control(hello))?;
    loop {
        match read(&mut control)? {
            ToAgent::Configure(_) => {}
            ToAgent::Request { id, op } => {
                let result = answer(op);
                write(&mut control, &FromAgent::Response { id, result })?;
            }
            ToAgent::OpenStream { stream, target } => {
                let path = path.to_owned();
                std::thread::spawn(move || open(&path, stream, target));
            }
        }
    }
}

fn answer(op: Op) -> Result<Reply, AgentError> {
    match op {
        Op::Usage => Ok(Reply::Usage(Usage::default())),
        Op::StopProcesses { .. } | Op::CloseTerminal { .. } | Op::MarkFilled => Ok(Reply::Done),
        Op::Spawn(spawn) => spawned(spawn),
        _ => Err(AgentError::Invalid("not in the stand-in".into())),
    }
}

fn spawned(spawn: Spawn) -> Result<Reply, AgentError> {
    let child = Command::new(&spawn.argv[0])
        .args(&spawn.argv[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| AgentError::Spawn(error.to_string()))?;
    let pid = child.id();
    std::thread::spawn(move || {
        use std::os::unix::process::ExitStatusExt;
        let Ok(output) = child.wait_with_output() else { return };
        let text = [output.stdout, output.stderr].concat();
        let (code, signal) = (output.status.code(), output.status.signal());
        let exit = Exit { code, signal, duration_ms: 0 };
        DONE.lock().unwrap().push((spawn.terminal, (text, exit)));
    });
    Ok(Reply::Spawned { pid })
}

fn open(path: &str, stream: u64, target: StreamTarget) -> io::Result<()> {
    let mut socket = UnixStream::connect(path)?;
    let StreamTarget::Terminal { terminal, .. } = target else {
        let result = Err(AgentError::Invalid("not in the stand-in".into()));
        return write(&mut socket, &Dial::Stream { stream, result });
    };
    write(&mut socket, &Dial::Stream { stream, result: Ok(()) })?;
    let (text, exit) = loop {
        let found = DONE.lock().unwrap().iter().find(|(id, _)| *id == terminal).cloned();
        match found {
            Some((_, done)) => break done,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut offset = 0;
    for chunk in text.chunks(60_000) {
        let bytes = chunk.to_vec().into();
        write(&mut socket, &TerminalOutput::Chunk { offset, bytes })?;
        offset += chunk.len() as u64;
    }
    write(&mut socket, &TerminalOutput::Exited { exit })
}

fn write(socket: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let body = rmp_serde::to_vec_named(message).map_err(io::Error::other)?;
    socket.write_all(&(body.len() as u32).to_le_bytes())?;
    socket.write_all(&body)
}

fn read<T: DeserializeOwned>(socket: &mut UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_le_bytes(length) as usize];
    socket.read_exact(&mut body)?;
    rmp_serde::from_slice(&body).map_err(io::Error::other)
}
