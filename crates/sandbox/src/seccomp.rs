//! The system calls that user code may not make, as programs for bubblewrap.
//!
//! A deny list like Docker's default, plus what reaches outside the namespaces or has a long
//! record of kernel faults. `clone3` hides its flags from a filter, so it is said not to exist;
//! C libraries then use `clone`, whose flags are checked.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SeekFrom};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// Calls that are refused whatever their arguments.
const DENIED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mbind,
    libc::SYS_migrate_pages,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_set_mempolicy,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// More on this architecture.
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[libc::c_long] =
    &[libc::SYS_ioperm, libc::SYS_iopl, libc::SYS_modify_ldt, libc::SYS_uselib, libc::SYS_ustat];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[libc::c_long] = &[];

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
        DENIED.iter().chain(DENIED_HERE).map(|call| (*call, Vec::new())).collect();
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
