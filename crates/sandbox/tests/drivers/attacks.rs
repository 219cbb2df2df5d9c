//! What hostile code tries, and what comes of it.

use std::time::{Duration, Instant};

use crate::bench::{Bench, Case, Mode, eventually, python, shell, start_inside};
use crate::cases::case;

const ISOLATED: &[Mode] = &[Mode::Launcher, Mode::User, Mode::Docker];
/// Needs rights that an ordinary user does not have.
const LIMITED: &[Mode] = &[Mode::Launcher, Mode::Docker];

pub const CASES: &[Case] = &[
    case!(a_fork_bomb_is_held, ISOLATED),
    case!(zombies_are_reaped, ISOLATED),
    case!(descriptors_end, ISOLATED),
    case!(a_memory_bomb_is_killed, LIMITED),
    case!(cpu_time_is_limited, LIMITED),
    case!(a_full_disk_is_only_its_own, ISOLATED),
    case!(files_end_too, LIMITED),
    case!(places_in_memory_end, ISOLATED),
    case!(terminals_end_and_others_still_get_one, LIMITED),
    case!(watches_are_its_own, LIMITED),
    case!(dangerous_system_calls_are_refused, ISOLATED),
    case!(other_ways_into_the_kernel_are_closed, ISOLATED),
    case!(typing_into_a_terminal_is_refused, ISOLATED),
    case!(the_hosts_kernel_settings_cannot_be_written, ISOLATED),
    case!(proc_tells_little, ISOLATED),
    case!(there_are_no_rights_to_gain, ISOLATED),
    case!(the_agent_is_out_of_reach, ISOLATED),
    case!(nobody_speaks_for_the_agent, ISOLATED),
    case!(no_descriptor_is_inherited, ISOLATED),
    case!(neighbours_are_invisible, ISOLATED),
    case!(there_is_no_network_but_its_own_loopback, ISOLATED),
    case!(programs_listen_on_port_80, LIMITED),
    case!(a_sandbox_cannot_stop_its_server_from_removing_it, ISOLATED),
];

async fn a_fork_bomb_is_held(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let neighbour = bench.launch().await?;
    let program = r#"
import os, time
made = []
try:
    while len(made) < 5000:
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
        made.append(child)
    print("NEVER REFUSED")
except OSError as error:
    print("refused", error.errno)
print(len(made))
for child in made: os.kill(child, 9)
"#;
    let output = python(&sandbox, program).await?;
    assert_eq!(output.lines()[0], "refused 11", "{output:?}");
    assert!(output.lines()[1].parse::<u32>()? <= 64, "{output:?}");
    println!("measured: {} processes before EAGAIN at a limit of 64", output.lines()[1]);
    let asked = Instant::now();
    assert_eq!(shell(&neighbour, "echo here").await?.lines(), ["here"]);
    assert!(asked.elapsed() < Duration::from_secs(2));
    // A real one, that goes on by itself.
    let other = bench.launch().await?;
    start_inside(&other, &["bash", "-c", "b() { b | b & }; b"]).await?;
    assert_eq!(shell(&neighbour, "echo here").await?.lines(), ["here"]);
    for sandbox in [&other, &sandbox, &neighbour] {
        bench.stop(sandbox).await?;
    }
    Ok(())
}

async fn zombies_are_reaped(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let program = r#"
import os
for _ in range(1000):
    child = os.fork()
    if child == 0:
        try:
            if os.fork() == 0: os._exit(0)
        except OSError: pass
        os._exit(0)
    os.waitpid(child, 0)
"#;
    let output = python(&sandbox, program).await?;
    assert_eq!(output.exit.code, Some(0), "{output:?}");
    eventually("no zombie is left", async || {
        let count = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l";
        Ok(shell(&sandbox, count).await?.text.trim() == "0")
    })
    .await?;
    bench.stop(&sandbox).await
}

async fn descriptors_end(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let program = r#"
import os, resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
try:
    while len(held) < 100000: held.append(os.open("/dev/null", 0))
    print("NO END")
except OSError as error:
    print(error.errno, hard)
try:
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))
    print("RAISED")
except (ValueError, PermissionError): print("not raised")
"#;
    let output = python(&sandbox, program).await?;
    assert_eq!(output.lines(), ["24 8192", "not raised"], "{output:?}");
    bench.stop(&sandbox).await
}

async fn a_memory_bomb_is_killed(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let started = Instant::now();
    let bomb = "import mmap\nheld = []\nwhile True: held.append(b'x' * (8 << 20))";
    let output = python(&sandbox, bomb).await?;
    assert_eq!(output.exit.signal, Some(9), "{output:?}");
    println!("measured: killed in {:?} at a limit of 256 MiB", started.elapsed());
    // Others in it live on.
    assert_eq!(shell(&sandbox, "echo alive").await?.lines(), ["alive"]);
    bench.stop(&sandbox).await
}

async fn cpu_time_is_limited(bench: &Bench) -> anyhow::Result<()> {
    let mut spec = bench.spec();
    spec.limits.cpu_percent = 20;
    let sandbox = bench.driver.launch(spec).await?;
    let program = r#"
import os, time
for _ in range(3):
    if os.fork() == 0:
        end = time.monotonic() + 2
        while time.monotonic() < end: pass
        os._exit(0)
for _ in range(3): os.wait()
used = os.times()
print(used.children_user + used.children_system)
"#;
    let output = python(&sandbox, program).await?;
    let used: f64 = output.lines()[0].parse()?;
    println!("measured: {used} s used in 2 s at 20 %");
    assert!(used < 1.0, "{output:?}");
    bench.stop(&sandbox).await
}

async fn a_full_disk_is_only_its_own(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let script = "cd ~; dd if=/dev/zero of=big bs=1M count=100 2>&1; stat -c %s big; \
                  truncate -s 1T sparse; stat -c 'sparse %s' sparse; echo fine";
    let output = shell(&sandbox, script).await?;
    assert!(output.text.contains("No space left on device"), "{output:?}");
    assert!(output.text.contains("sparse 0"), "no sparse terabyte: {output:?}");
    let size: u64 = output.lines().iter().find_map(|line| line.parse().ok()).expect("a size");
    assert!((30 << 20..=64 << 20).contains(&size), "{output:?}");
    let neighbour = bench.launch().await?;
    let output =
        shell(&neighbour, "dd if=/dev/zero of=~/mine bs=1M count=20 2>&1 && echo ok").await?;
    assert!(output.text.contains("ok"), "{output:?}");
    bench.stop(&sandbox).await?;
    bench.stop(&neighbour).await
}

async fn files_end_too(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let program = r#"
import os
made = 0
try:
    for made in range(100000): os.mkdir(f"d{made}")
    print("NO END")
except OSError as error:
    print("refused", error.errno, made)
"#;
    let output = python(&sandbox, program).await?;
    assert!(output.lines()[0].starts_with("refused 28"), "{output:?}");
    println!("measured: {} folders at a limit of 2000", output.lines()[0]);
    bench.stop(&sandbox).await
}

async fn places_in_memory_end(bench: &Bench) -> anyhow::Result<()> {
    let mut spec = bench.spec();
    spec.limits.memory_bytes = 1 << 30;
    let sandbox = bench.driver.launch(spec).await?;
    let script = "for at in /tmp /dev/shm; do dd if=/dev/zero of=$at/x bs=1M count=600 2>&1 | \
                  grep -c 'No space'; rm $at/x; done; touch /dev/x /run/x /run/tandem/x 2>&1";
    let output = shell(&sandbox, script).await?;
    assert_eq!(output.lines()[..2], ["1", "1"], "{output:?}");
    // A container's /dev can be written, but not by its user.
    let refusals = ["Read-only file system", "Permission denied"];
    let refused: usize = refusals.iter().map(|said| output.text.matches(said).count()).sum();
    assert_eq!(refused, 3, "{output:?}");
    bench.stop(&sandbox).await
}

const OPEN_TERMINALS: &str = r#"
import os
held = []
try:
    while len(held) < 100: held.append(os.openpty())
    print("NO END")
except OSError as error:
    print(len(held))
"#;

async fn terminals_end_and_others_still_get_one(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let output = python(&sandbox, OPEN_TERMINALS).await?;
    let opened: usize = output.lines()[0].parse()?;
    assert!((1..=8).contains(&opened), "{output:?}");
    let neighbour = bench.launch().await?;
    assert!(python(&neighbour, OPEN_TERMINALS).await?.lines()[0].parse::<usize>()? >= 1);
    bench.stop(&sandbox).await?;
    bench.stop(&neighbour).await
}

async fn watches_are_its_own(bench: &Bench) -> anyhow::Result<()> {
    let take_all = r#"
import ctypes, time, sys
libc = ctypes.CDLL(None)
made = 0
while made < 500 and libc.inotify_init() >= 0: made += 1
print(made, flush=True)
if len(sys.argv) > 1:
    open("taken", "w")
    time.sleep(30)
"#;
    let sandbox = bench.launch().await?;
    let neighbour = bench.launch().await?;
    start_inside(&sandbox, &["python3", "-c", take_all, "stay"]).await?;
    eventually("the first one holds all it can get", async || {
        Ok(shell(&sandbox, "cat taken").await?.exit.code == Some(0))
    })
    .await?;
    assert_eq!(python(&sandbox, take_all).await?.lines()[0], "0");
    let got: usize = python(&neighbour, take_all).await?.lines()[0].parse()?;
    assert!(got > 50, "the neighbour has its own: {got}");
    bench.stop(&sandbox).await?;
    bench.stop(&neighbour).await
}

async fn dangerous_system_calls_are_refused(bench: &Bench) -> anyhow::Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        println!("measured: LEFT OUT, the numbers are of x86-64");
        return Ok(());
    }
    let sandbox = bench.launch().await?;
    let program = r#"
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(name, number, *arguments):
    arguments = [ctypes.c_long(argument) for argument in arguments]
    result = libc.syscall(ctypes.c_long(number), *arguments)
    errno = ctypes.get_errno() if result < 0 else 0
    if name != "clone3" and errno != 1 or name == "clone3" and errno != 38:
        print("OPEN", name, result, errno)
    ctypes.set_errno(0)
calls = dict(unshare=272, mount=165, umount2=166, chroot=161, pivot_root=155, setns=308,
    keyctl=250, add_key=248, request_key=249, bpf=321, perf_event_open=298, userfaultfd=323,
    io_uring_setup=425, io_uring_enter=426, io_uring_register=427, kcmp=312, clock_settime=227,
    settimeofday=164, adjtimex=159, clock_adjtime=305, open_by_handle_at=304,
    name_to_handle_at=303, syslog=103, init_module=175, finit_module=313, delete_module=176,
    kexec_load=246, kexec_file_load=320, swapon=167, swapoff=168, reboot=169, quotactl=179,
    quotactl_fd=443, fanotify_init=300, fanotify_mark=301, mbind=237, set_mempolicy=238,
    migrate_pages=256, move_pages=279, open_tree=428, move_mount=429, fsopen=430, fsconfig=431,
    fsmount=432, fspick=433, mount_setattr=442, sethostname=170, setdomainname=171, acct=163,
    iopl=172, ioperm=173, modify_ldt=154, vhangup=153, lookup_dcookie=212, nfsservctl=180,
    uselib=134, ustat=136, clone3=435)
for name, number in calls.items():
    call(name, number, 0, 0, 0, 0, 0, 0)
for flag in [0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]:
    call("clone with a namespace", 56, flag | 17, 0, 0, 0, 0)
for family in [40, 17, 38]:
    call("socket of a family", 41, family, 3, 0)
    call("socketpair of a family", 53, family, 3, 0, 0)
# Raw sockets and device nodes are the kernel's to refuse.
call("raw socket", 41, 2, 3, 1)
path = ctypes.create_string_buffer(b"/tmp/node")
call("mknod", 133, ctypes.addressof(path), 0o60600, 0x0700)
print("done", len(calls))
import threading, subprocess
thread = threading.Thread(target=print, args=("threads work",)); thread.start(); thread.join()
print(subprocess.run(["echo", "programs work"], capture_output=True, text=True).stdout.strip())
"#;
    let output = python(&sandbox, program).await?;
    assert!(!output.text.contains("OPEN"), "{}", output.text);
    assert!(output.text.contains("done"), "{output:?}");
    assert!(output.text.contains("threads work") && output.text.contains("programs work"));
    bench.stop(&sandbox).await
}

/// A program without a C library that uses another ABI of this processor.
const OTHER_ABI: &str = r#"
static long call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}
void _start(void) {
    long result;
#ifdef X32
    result = call(0x40000000 + 39, 0, 0, 0);
#else
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
#endif
    if (result > 0) call(1, 1, (long)"OPEN\n", 5);
    call(231, result == -38 ? 38 : 1, 0, 0);
}
"#;

async fn other_ways_into_the_kernel_are_closed(bench: &Bench) -> anyhow::Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        println!("measured: LEFT OUT, the calls are x86-64's");
        return Ok(());
    }
    let sandbox = bench.launch().await?;
    for define in ["-DX32", "-DI386"] {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("p.c"), OTHER_ABI)?;
        let made = std::process::Command::new("cc")
            .args([define, "-nostdlib", "-static", "-Os", "-o"])
            .args([at("p"), at("p.c")])
            .status()?;
        anyhow::ensure!(made.success(), "cc: {made}");
        // Small enough for a script.
        let program: String =
            std::fs::read(at("p"))?.iter().map(|byte| format!("{byte:02x}")).collect();
        let script = format!(
            "import os\nopen('p', 'wb').write(bytes.fromhex('{program}'))\nos.chmod('p', 0o755)"
        );
        assert_eq!(python(&sandbox, &script).await?.exit.code, Some(0));
        let output = shell(&sandbox, "./p; echo $?").await?;
        assert!(!output.text.contains("OPEN"), "{output:?}");
        // ENOSYS or SIGSYS, or SIGSEGV where the kernel was built without the old entry.
        let ends = ["38", "159", "139"];
        assert!(ends.iter().any(|end| output.lines().contains(end)), "{define}: {output:?}");
    }
    bench.stop(&sandbox).await
}

async fn typing_into_a_terminal_is_refused(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let program = r#"
import os, fcntl
master, slave = os.openpty()
for request in [0x5412, 0x541c, 0x5412 | 1 << 32]:
    try:
        fcntl.ioctl(slave, request & 0xffffffff, b"x")
        print("TYPED")
    except OSError as error:
        print("refused", error.errno)
"#;
    let output = python(&sandbox, program).await?;
    assert_eq!(output.lines(), ["refused 1"; 3], "{output:?}");
    bench.stop(&sandbox).await
}

async fn the_hosts_kernel_settings_cannot_be_written(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let program = r#"
paths = ["sys/kernel/core_pattern", "sys/vm/swappiness", "sys/kernel/hostname", "sysrq-trigger"]
for path in paths:
    try:
        open("/proc/" + path, "w").write("1")
        print("WRITTEN", path)
    except OSError as error:
        print("refused", error.errno)
import os
for device in ["/dev/full", "/dev/null", "/dev/tty", "/usr/bin/env", "/etc/passwd"]:
    try:
        os.chmod(device, 0o777)
        print("CHANGED", device)
    except OSError as error:
        print("refused", error.errno)
"#;
    let output = python(&sandbox, program).await?;
    assert_eq!(output.text.matches("refused").count(), 9, "{output:?}");
    bench.stop(&sandbox).await
}

async fn proc_tells_little(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let program = r#"
import os
for name in ["cmdline", "kallsyms", "keys", "key-users", "timer_list", "config.gz", "kcore", "kmsg"]:
    try:
        if open("/proc/" + name, "rb").read(1): print("TELLS", name)
    except OSError: pass
def is_empty(folder): return not os.path.exists(folder) or not os.access(folder, os.R_OK) or os.listdir(folder) == []
print(is_empty("/sys"), is_empty("/root"), os.listdir("/home"))
print(sorted(os.listdir("/")))
for secret in ["/proc/1/root/etc/shadow", "/etc/shadow"]: print(os.access(secret, os.R_OK), end=" ")
print()
print(open("/proc/self/cgroup").read().strip().split("\n")[-1])
print(len([name for name in os.listdir("/proc") if name.isdigit()]) < 20)
"#;
    let output = python(&sandbox, program).await?;
    let lines = output.lines();
    assert_eq!(lines[0], "True True ['runner']", "{output:?}");
    assert_eq!(lines[2].trim(), "False False", "{output:?}");
    assert_eq!(lines.last(), Some(&"True"), "{output:?}");
    assert!(!output.text.contains("TELLS"), "{output:?}");
    bench.stop(&sandbox).await
}

async fn there_are_no_rights_to_gain(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let script = "grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status; \
                  for at in ~ /tmp; do cp /usr/bin/id $at/id && chmod 6755 $at/id && $at/id -u; done; \
                  cat /proc/self/uid_map; ulimit -c; ulimit -n";
    let output = shell(&sandbox, script).await?;
    let values: Vec<Vec<&str>> =
        output.lines().iter().map(|line| line.split_whitespace().collect()).collect();
    for capability in &values[..5] {
        assert_eq!(capability[1], "0000000000000000", "{output:?}");
    }
    assert_eq!(values[5], ["NoNewPrivs:", "1"]);
    assert_eq!(values[6], ["Seccomp:", "2"]);
    let record = bench.record(&sandbox)?;
    if bench.mode == Mode::Docker {
        let uid = record["uid"].to_string();
        assert_eq!(values[7..9], [[&uid], [&uid]], "{output:?}");
    } else {
        assert_eq!(values[7..9], [["1000"], ["1000"]], "{output:?}");
        assert_eq!(values[9][2], "1", "one user is mapped: {output:?}");
    }
    assert_eq!(values[10..], [["0"], ["1024"]], "{output:?}");
    // On the host it is not root, and with a launcher it is nobody else either.
    let status = std::fs::read_to_string(format!("/proc/{}/status", record["agent"]["pid"]))?;
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("its ids");
    let ids: Vec<u32> = ids.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let own = rustix::process::geteuid().as_raw();
    assert!(ids.iter().all(|id| *id == ids[0] && *id != 0), "{ids:?}");
    assert_eq!(ids[0] == own, bench.mode == Mode::User, "{ids:?}");
    bench.stop(&sandbox).await
}

async fn the_agent_is_out_of_reach(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let program = r#"
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
for name in ["environ", "mem", "maps"]:
    try:
        open("/proc/1/" + name, "rb").read(1)
        print("READ", name)
    except OSError as error:
        print("refused", error.errno)
try:
    os.listdir("/proc/1/fd")
    print("READ fd")
except OSError as error:
    print("refused", error.errno)
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
for request in [PTRACE_ATTACH, PTRACE_SEIZE]:
    result = libc.ptrace(request, 1, None, None)
    print("TRACED" if result == 0 else f"refused {ctypes.get_errno()}")
for number in [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGHUP]:
    os.kill(1, number)
print("asked to die")
"#;
    let output = python(&sandbox, program).await?;
    assert_eq!(output.text.matches("refused").count(), 6, "{output:?}");
    assert!(output.text.contains("asked to die"), "{output:?}");
    assert_eq!(shell(&sandbox, "echo alive").await?.lines(), ["alive"]);
    // Everything else may go; the agent stays.
    start_inside(&sandbox, &["bash", "-c", "kill -9 -1"]).await?;
    eventually("a command runs after all were killed", async || {
        Ok(shell(&sandbox, "echo alive").await?.lines() == ["alive"])
    })
    .await?;
    bench.stop(&sandbox).await
}

async fn nobody_speaks_for_the_agent(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let mut events = sandbox.link.take_events().expect("the events");
    assert!(events.recv().await.is_some());
    let program = format!("sandbox = '{}'", sandbox.id)
        + r#"
import os, socket
body = b"\x81\xa7Control\x83\xa7version\x01\xa7sandbox\xb0" + sandbox.encode()
body += b"\xa9terminals\x90"
closed = 0
for _ in range(300):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect("/run/tandem/agent.sock")
    try:
        connection.sendall(len(body).to_bytes(4, "little") + body)
        if connection.recv(1) == b"": closed += 1
    except (BrokenPipeError, ConnectionResetError): closed += 1
print(closed)
"#;
    let output = python(&sandbox, &program).await?;
    assert_eq!(output.lines(), ["300"], "{output:?}");
    // The agent's own connection was not touched.
    assert!(sandbox.link.is_connected());
    while let Ok(event) = events.try_recv() {
        assert!(matches!(event, tandem_sandbox::LinkEvent::Event(_)), "{event:?}");
    }
    bench.stop(&sandbox).await
}

async fn no_descriptor_is_inherited(bench: &Bench) -> anyhow::Result<()> {
    // One that this process would pass on to everything it starts.
    let leak = std::fs::File::open("/etc/hostname")?;
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty())?;
    let sandbox = bench.launch().await?;
    let program = "import os\nfor fd in os.listdir('/proc/self/fd'):\n    \
                   try: print(fd, os.readlink(f'/proc/self/fd/{fd}'))\n    except OSError: pass";
    let output = python(&sandbox, program).await?;
    let numbers: Vec<u32> =
        output.lines().iter().filter_map(|line| line.split(' ').next()?.parse().ok()).collect();
    assert!(numbers.iter().all(|fd| *fd <= 2), "{output:?}");
    drop(leak);
    bench.stop(&sandbox).await
}

async fn neighbours_are_invisible(bench: &Bench) -> anyhow::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("tandem-test-{}", rand::random::<u64>());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name)?;
    let _of_the_host = std::os::unix::net::UnixListener::bind_addr(&address)?;
    let sandbox = bench.launch().await?;
    let neighbour = bench.launch().await?;
    let listen = r#"
import os, socket, time
listener = socket.socket(socket.AF_UNIX)
listener.bind("\0neighbour")
listener.listen()
tcp = socket.create_server(("0.0.0.0", 4321))
open("/tmp/secret", "w").write("secret")
os.system("ipcmk -M 1024 >/dev/null")
print("ready", flush=True)
open("ready", "w")
time.sleep(60)
"#;
    start_inside(&neighbour, &["python3", "-c", listen]).await?;
    eventually("the neighbour listens", async || {
        Ok(shell(&neighbour, "ls").await?.text.contains("ready"))
    })
    .await?;
    let program = format!(
        r#"
import os, socket
for name in ["\0neighbour", "\0{name}"]:
    try:
        socket.socket(socket.AF_UNIX).connect(name)
        print("REACHED")
    except OSError as error:
        print("refused", error.errno)
try:
    socket.create_connection(("127.0.0.1", 4321), 2)
    print("REACHED")
except OSError as error:
    print("refused", error.errno)
print(os.path.exists("/tmp/secret"), sorted(os.listdir("/run")), os.listdir("."))
print(len(os.popen("ipcs -m").read().strip().split("\n")))
own = [open("/proc/" + pid + "/cmdline").read() for pid in os.listdir("/proc") if pid.isdigit() and pid != "1"]
print(any("listener" in line for line in own if "neighbours" not in line and "REACHED" not in line))
"#
    );
    let output = python(&sandbox, &program).await?;
    let lines = output.lines();
    assert_eq!(lines[..3], ["refused 111"; 3], "{output:?}");
    assert_eq!(lines[3], "False ['tandem', 'tandem-agent'] []", "{output:?}");
    assert!(lines[4].parse::<u32>()? <= 2, "no shared memory: {output:?}");
    assert_eq!(lines[5], "False", "{output:?}");
    bench.stop(&sandbox).await?;
    bench.stop(&neighbour).await
}

async fn there_is_no_network_but_its_own_loopback(bench: &Bench) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let sandbox = bench.launch().await?;
    let program = format!(
        r#"
import socket
print(sorted(name for _, name in socket.if_nameindex()))
def dial(host, port):
    try:
        socket.create_connection((host, port), 2)
        print("REACHED", host)
    except OSError as error:
        print("refused", error.errno)
dial("127.0.0.1", {port})
dial("169.254.169.254", 80)
dial("1.1.1.1", 443)
dial("10.0.0.1", 22)
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("8.8.8.8", 53))
    print("SENT")
except OSError as error:
    print("refused", error.errno)
try:
    socket.getaddrinfo("example.com", 443)
    print("RESOLVED")
except OSError:
    print("no names")
server = socket.create_server(("127.0.0.1", 5001))
socket.create_connection(("localhost", 5001))
print("its own works")
"#
    );
    let output = python(&sandbox, &program).await?;
    let lines = output.lines();
    assert_eq!(lines[0], "['lo']", "{output:?}");
    // Connection refused on its own loopback, network unreachable elsewhere.
    assert_eq!(
        lines[1..],
        [
            "refused 111",
            "refused 101",
            "refused 101",
            "refused 101",
            "refused 101",
            "no names",
            "its own works"
        ]
    );
    bench.stop(&sandbox).await
}

async fn programs_listen_on_port_80(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let program = "import socket\nfor port in [80, 443]: socket.create_server(('', port))\n\
                   try: socket.create_server(('', 22)); print('OPEN')\n\
                   except OSError as error: print(error.errno)";
    let output = python(&sandbox, program).await?;
    assert_eq!(output.lines(), ["13"], "80 and 443, and none below: {output:?}");
    bench.stop(&sandbox).await
}

async fn a_sandbox_cannot_stop_its_server_from_removing_it(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let script = "mkdir -p ~/a/b/c && touch ~/a/b/c/file && ln -s / ~/a/root && mkfifo ~/a/fifo && \
                  chmod 000 ~/a/b && chmod 000 ~ && echo locked";
    assert_eq!(shell(&sandbox, script).await?.lines(), ["locked"]);
    bench.stop(&sandbox).await?;
    assert!(bench.folders().is_empty());
    Ok(())
}
