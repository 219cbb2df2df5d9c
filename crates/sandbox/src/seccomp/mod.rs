//! The system calls that user code may not make, as programs for bubblewrap and as a [`profile`]
//! for Docker.
//!
//! A deny list like Docker's default, plus what reaches outside the namespaces or has a long
//! record of kernel faults. `clone3` hides its flags from a filter, so it is said not to exist;
//! C libraries then use `clone`, whose flags are checked.

pub(crate) mod profile;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SeekFrom};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// A system call by its name in libc, `SYS_…`, and its number.
type Call = (&'static str, libc::c_long);

macro_rules! calls {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), libc::$name)),*] };
}

/// Calls that are refused whatever their arguments.
const DENIED: &[Call] = calls![
    SYS_acct,
    SYS_add_key,
    SYS_adjtimex,
    SYS_bpf,
    SYS_chroot,
    SYS_clock_adjtime,
    SYS_clock_settime,
    SYS_delete_module,
    SYS_fanotify_init,
    SYS_fanotify_mark,
    SYS_finit_module,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fsopen,
    SYS_fspick,
    SYS_init_module,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_io_uring_setup,
    SYS_kcmp,
    SYS_kexec_file_load,
    SYS_kexec_load,
    SYS_keyctl,
    SYS_lookup_dcookie,
    SYS_mbind,
    SYS_migrate_pages,
    SYS_mount,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_move_pages,
    SYS_name_to_handle_at,
    SYS_nfsservctl,
    SYS_open_by_handle_at,
    SYS_open_tree,
    SYS_perf_event_open,
    SYS_pivot_root,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_reboot,
    SYS_request_key,
    SYS_set_mempolicy,
    SYS_setdomainname,
    SYS_sethostname,
    SYS_setns,
    SYS_settimeofday,
    SYS_swapoff,
    SYS_swapon,
    SYS_syslog,
    SYS_umount2,
    SYS_unshare,
    SYS_userfaultfd,
    SYS_vhangup,
];

/// More on this architecture.
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[Call] = calls![SYS_ioperm, SYS_iopl, SYS_modify_ldt, SYS_uselib, SYS_ustat];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[Call] = &[];

/// Flags of `clone` that make a namespace.
const NAMESPACE_FLAGS: &[libc::c_int] = &[
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Families that no network namespace covers, or that have nothing to do in a sandbox.
const DENIED_SOCKETS: &[libc::c_int] = &[libc::AF_ALG, libc::AF_PACKET, libc::AF_VSOCK];

/// TIOCSTI and TIOCLINUX, which type into a terminal somebody else reads. Their numbers are the
/// same on all processors this is built for.
const DENIED_IOCTLS: &[u64] = &[0x5412, 0x541c];

/// Number added to the calls of the x32 ABI, which the main program does not know.
#[cfg(target_arch = "x86_64")]
const X32_CALLS: u32 = 0x4000_0000;

/// Why no filter could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeccompError {
    /// This architecture is unknown to the compiler.
    #[error("no system call filter for this processor: {0}")]
    Compile(#[from] BackendError),
}

/// The programs, in the order they are loaded, as bubblewrap reads them.
#[derive(Debug, Clone)]
pub(crate) struct Programs(Vec<Vec<u8>>);

impl Programs {
    /// Compiles them for this machine.
    pub(crate) fn compile() -> Result<Self, SeccompError> {
        let arch = TargetArch::try_from(std::env::consts::ARCH)?;
        let mut programs = vec![
            to_bytes(&deny_list(arch)?),
            to_bytes(&refuse(&[libc::SYS_clone3], libc::ENOSYS, arch)?),
        ];
        if let Some(program) = without_x32() {
            programs.push(program);
        }
        Ok(Self(programs))
    }

    /// Each program in a descriptor of its own, at its start.
    pub(crate) fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        let descriptor = |program: &Vec<u8>| {
            let fd = rustix::fs::memfd_create("seccomp", MemfdFlags::CLOEXEC)?;
            let mut file = std::fs::File::from(fd);
            file.write_all(program)?;
            let fd = OwnedFd::from(file);
            rustix::fs::seek(&fd, SeekFrom::Start(0))?;
            Ok(fd)
        };
        self.0.iter().map(descriptor).collect()
    }
}

fn deny_list(arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        DENIED.iter().chain(DENIED_HERE).map(|(_, call)| (*call, Vec::new())).collect();
    let flag = |flag: &libc::c_int| {
        let bit = *flag as u64;
        one(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(bit), bit)
    };
    rules.insert(libc::SYS_clone, NAMESPACE_FLAGS.iter().map(flag).collect::<Result<_, _>>()?);
    let family =
        |family: &libc::c_int| one(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *family as u64);
    let families: Vec<_> = DENIED_SOCKETS.iter().map(family).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_socketpair, families.clone());
    rules.insert(libc::SYS_socket, families);
    let ioctl =
        |request: &u64| one(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *request & 0xffff_ffff);
    rules.insert(libc::SYS_ioctl, DENIED_IOCTLS.iter().map(ioctl).collect::<Result<_, _>>()?);
    compile(rules, libc::EPERM, arch)
}

fn refuse(
    calls: &[libc::c_long],
    errno: libc::c_int,
    arch: TargetArch,
) -> Result<BpfProgram, BackendError> {
    compile(calls.iter().map(|call| (*call, Vec::new())).collect(), errno, arch)
}

fn one(
    argument: u8,
    length: SeccompCmpArgLen,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, length, operator, value)?])
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: libc::c_int,
    arch: TargetArch,
) -> Result<BpfProgram, BackendError> {
    let denied = SeccompAction::Errno(errno as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, denied, arch)?.try_into()
}

/// `struct sock_filter` as the kernel lays it out.
fn to_bytes(program: &BpfProgram) -> Vec<u8> {
    let statement = |filter: &seccompiler::sock_filter| {
        let mut bytes = Vec::with_capacity(8);
        bytes.extend_from_slice(&filter.code.to_ne_bytes());
        bytes.extend_from_slice(&[filter.jt, filter.jf]);
        bytes.extend_from_slice(&filter.k.to_ne_bytes());
        bytes
    };
    program.iter().flat_map(statement).collect()
}

/// A program that says of every x32 call that it does not exist: seccompiler checks the
/// architecture, which is the same for both ABIs, and then compares whole numbers.
#[cfg(target_arch = "x86_64")]
fn without_x32() -> Option<Vec<u8>> {
    // The compiler's crate exports the type of its statements without a constructor for it.
    let statement = |code: u32, jump_true: u8, jump_false: u8, value: u32| {
        let mut bytes = Vec::with_capacity(8);
        bytes.extend_from_slice(&(code as u16).to_ne_bytes());
        bytes.extend_from_slice(&[jump_true, jump_false]);
        bytes.extend_from_slice(&value.to_ne_bytes());
        bytes
    };
    let refused = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let program = [
        // The call's number is the first word of `struct seccomp_data`.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32_CALLS),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, refused),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    Some(program.concat())
}

#[cfg(not(target_arch = "x86_64"))]
fn without_x32() -> Option<Vec<u8>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_compile_and_fit_the_kernels_bound() {
        let programs = Programs::compile().unwrap();
        assert!(programs.0.len() >= 2);
        for program in &programs.0 {
            assert_eq!(program.len() % 8, 0);
            assert!((1..=4096).contains(&(program.len() / 8)));
        }
        assert_eq!(programs.descriptors().unwrap().len(), programs.0.len());
    }
}
