//! System calls that the daemon can make, enforced by seccomp.
//!
//! The list has the calls that the daemon and the libraries of ALSA and the sound servers were seen to need, and
//! closely related ones; where a call does very different things, its arguments are checked. Every other call is
//! refused with EPERM: libraries go on without it, and an unforeseen call does not end the sound of all guests. A
//! worker, which is started within this sandbox, may make even fewer calls.

use std::collections::BTreeMap;

use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Calls that are allowed with any arguments.
const CALLS: &[libc::c_long] = &[
    // Files that landlock lets through, and open descriptors.
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_mkdirat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_umask,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_futex,
    // Sockets, which `socket` only makes of some families.
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_accept,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    // ALSA's dmix and dsnoop use these to share the card with other players.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmdt,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    // The process itself, its threads and their priority.
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getrandom,
    libc::SYS_setsid,
    libc::SYS_setpgid,
    libc::SYS_wait4,
    libc::SYS_tgkill,
    // Workers are started, watched and ended.
    libc::SYS_execve,
    libc::SYS_kill,
    libc::SYS_waitid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Needed to install the second filter, and for a worker to confine itself.
    libc::SYS_seccomp,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
    // Answered by the filter before this one.
    libc::SYS_clone3,
];

/// Calls that newer architectures do not have any more.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_chmod,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_time,
    libc::SYS_getpgrp,
    libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[libc::c_long] = &[];

/// Masks of an ioctl's number: its `_IOC` type, and the type with its direction.
const IOCTL_TYPE: u64 = 0xFF00;
const IOCTL_TYPE_AND_DIRECTION: u64 = 0xC000_FF00;

/// Restricts all threads.
///
/// # Errors
/// A machine that seccomp's library does not know, or a kernel without seccomp.
pub(super) fn restrict() -> Result<(), String> {
    // A C library falls back to `clone`, whose flags can be checked, only if there is no `clone3`.
    let no_clone3 = BTreeMap::from([(libc::SYS_clone3, vec![])]);
    install(no_clone3, SeccompAction::Allow, SeccompAction::Errno(number(libc::ENOSYS)))?;
    let rules = rules().map_err(|error| error.to_string())?;
    install(rules, SeccompAction::Errno(number(libc::EPERM)), SeccompAction::Allow)
}

/// Restricts a worker further than [`restrict`]: it starts no programs, signals no other processes, maps nothing to be
/// executed, and makes no call on Xen's devices but the one that signals on a channel.
///
/// From then on only code runs that was mapped before: the program, and the libraries that it has loaded.
///
/// # Errors
/// The errors of [`restrict`].
pub(super) fn restrict_worker() -> Result<(), String> {
    let rules = worker_rules().map_err(|error| error.to_string())?;
    install(rules, SeccompAction::Allow, SeccompAction::Errno(number(libc::EPERM)))
}

/// Calls that are refused; a call with conditions is refused if one of them holds.
fn worker_rules() -> Result<BTreeMap<libc::c_long, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut rules = BTreeMap::from([(libc::SYS_execve, Vec::new()), (libc::SYS_kill, Vec::new())]);
    let sets = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![sets])?]);
    // A descriptor does not show what it leads to: a library, or a file that was written. `mprotect` makes nothing
    // executable in the whole daemon; `pkey_mprotect`, `remap_file_pages`, `personality` and `uselib` are not on its
    // list, and `mremap` keeps a mapping's rights.
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    rules.insert(libc::SYS_mmap, vec![masked(2, executable, executable)?]);
    let executable = u64::from(libc::SHM_EXEC.unsigned_abs());
    rules.insert(libc::SYS_shmat, vec![masked(2, executable, executable)?]);
    // A library may only signal this process, as `abort` does.
    let other = |value: u32| SeccompCondition::new(0, Dword, SeccompCmpOp::Ne, value.into());
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![other(std::process::id())?])?]);
    let notify = u64::from(xen::dev::abi::EVTCHN_NOTIFY);
    let channels_but_notify = SeccompRule::new(vec![
        SeccompCondition::new(1, Dword, SeccompCmpOp::MaskedEq(IOCTL_TYPE), u64::from(b'E') << 8)?,
        SeccompCondition::new(1, Dword, SeccompCmpOp::Ne, notify)?,
    ])?;
    rules.insert(libc::SYS_ioctl, vec![masked(1, IOCTL_TYPE, u64::from(b'G') << 8)?, channels_but_notify]);
    Ok(rules)
}

fn number(errno: i32) -> u32 {
    errno.unsigned_abs()
}

fn install(
    rules: BTreeMap<libc::c_long, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> Result<(), String> {
    let machine: TargetArch = std::env::consts::ARCH.try_into().map_err(|error| format!("{error}"))?;
    let filter = SeccompFilter::new(rules, otherwise, matching, machine).map_err(|error| error.to_string())?;
    let program: seccompiler::BpfProgram = filter.try_into().map_err(|error| format!("{error}"))?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| error.to_string())
}

/// Calls that are allowed; a call with conditions is allowed if one of them holds.
fn rules() -> Result<BTreeMap<libc::c_long, Vec<SeccompRule>>, seccompiler::BackendError> {
    let any = CALLS.iter().chain(OLD_CALLS).map(|&call| (call, Vec::new()));
    let mut rules: BTreeMap<_, _> = any.collect();
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
    let families = families.iter().map(|&family| equal(0, u64::from(family.unsigned_abs())));
    // No netlink, no raw packets.
    rules.insert(libc::SYS_socket, families.collect::<Result<_, _>>()?);
    rules.insert(libc::SYS_socketpair, vec![equal(0, u64::from(libc::AF_UNIX.unsigned_abs()))?]);
    // Memory is written to or executed, never both; what was written is not executed later.
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    let writable = u64::from(libc::PROT_WRITE.unsigned_abs());
    rules.insert(libc::SYS_mmap, vec![masked(2, executable, 0)?, masked(2, writable, 0)?]);
    rules.insert(libc::SYS_mprotect, vec![masked(2, executable, 0)?]);
    // Threads and the server that `dmix` forks, but no namespaces.
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET;
    rules.insert(libc::SYS_clone, vec![masked(0, u64::from(namespaces.unsigned_abs()), 0)?]);
    // The name of a thread, a look at the capabilities, and the first steps of a sandbox within this one.
    let options = [
        libc::PR_SET_NAME,
        libc::PR_GET_NAME,
        libc::PR_CAPBSET_READ,
        libc::PR_SET_NO_NEW_PRIVS,
        libc::PR_GET_NO_NEW_PRIVS,
    ];
    let options = options.iter().map(|&option| equal(0, u64::from(option.unsigned_abs())));
    rules.insert(libc::SYS_prctl, options.collect::<Result<_, _>>()?);
    // Limits of this process: a worker lowers its own.
    rules.insert(libc::SYS_prlimit64, vec![equal(0, 0)?]);
    rules.insert(libc::SYS_ioctl, ioctls()?);
    Ok(rules)
}

/// Allowed ioctls: those of Xen's event channels and grants, of ALSA, and a few of sockets and standard error. None can
/// type on a terminal.
fn ioctls() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let xen_and_pcm_and_control = *b"EGAU";
    let mut rules = Vec::new();
    for kind in xen_and_pcm_and_control {
        rules.push(masked(1, IOCTL_TYPE, u64::from(kind) << 8)?);
    }
    // ALSA's timers, which share their type with terminals: those with a direction, which few of a terminal have, and
    // those from 0xA0 on.
    for direction in [1, 2, 3] {
        rules.push(masked(1, IOCTL_TYPE_AND_DIRECTION, direction << 30 | u64::from(b'T') << 8)?);
    }
    rules.push(masked(1, 0xFFFF_FFF0, u64::from(b'T') << 8 | 0xA0)?);
    for exactly in [libc::TCGETS, libc::FIONREAD, libc::FIONBIO, libc::FIOCLEX] {
        rules.push(equal(1, exactly)?);
    }
    Ok(rules)
}

/// Rule that the lower half of an argument is `value`.
fn equal(argument: u8, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, Dword, SeccompCmpOp::Eq, value)?])
}

/// Rule that the bits `mask` of the lower half of an argument are those of `value`.
fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, Dword, SeccompCmpOp::MaskedEq(mask), value)?])
}
