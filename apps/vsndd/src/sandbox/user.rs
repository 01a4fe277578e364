//! Change from root to the daemon's own user, and loss of the capabilities.

use std::ffi::CString;

use caps::{CapSet, Capability, CapsHashSet};
use config::Worker;
use nix::unistd::{Gid, Group, Uid, User, geteuid, initgroups, setresgid, setresuid};
use rustix::process::{Resource, Rlimit};

use super::Error;

/// The nice value of the devices' threads.
const DEVICE_NICE: i32 = -11;

/// Capabilities of a daemon that stays root: for the files of those who configured it, and for its threads' priority.
const ROOT_KEEPS: [Capability; 2] = [Capability::CAP_DAC_OVERRIDE, Capability::CAP_SYS_NICE];

/// Stack of a thread that a library starts.
const THREAD_STACK_BYTES: u64 = 2 << 20;

/// Checks that there is a user `name`.
pub(super) fn check(name: &str) -> Result<(), Error> {
    look_up(name).map(drop)
}

fn look_up(name: &str) -> Result<User, Error> {
    let failed = |reason: String| Error::User { name: name.to_owned(), reason };
    User::from_name(name)
        .map_err(|errno| failed(errno.desc().to_owned()))?
        .ok_or_else(|| failed(format!("there is none: `adduser --system --group --ingroup audio {name}`")))
}

/// Becomes user `name` with all its groups (of which `audio` opens the sound cards), for good.
pub(super) fn become_user(name: &str, worker: &Worker) -> Result<(), Error> {
    let failed = |reason: String| Error::User { name: name.to_owned(), reason };
    let system = |errno: nix::Error| failed(errno.desc().to_owned());
    let user = look_up(name)?;
    if geteuid() == user.uid {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(failed("only root can".into()));
    }
    // Best effort: without these limits the workers run at the ordinary priority.
    let allow = |resource, most| {
        let _ = rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    };
    let nice = worker.nice().min(DEVICE_NICE);
    allow(Resource::Nice, u64::try_from(20 - nice).unwrap_or(0));
    if let Some(priority) = worker.realtime_priority {
        allow(Resource::Rtprio, priority.into());
    }
    let c_name = CString::new(name).map_err(|_| failed("a name has no NUL".into()))?;
    initgroups(&c_name, user.gid).map_err(system)?;
    setresgid(user.gid, user.gid, user.gid).map_err(system)?;
    setresuid(user.uid, user.uid, user.uid).map_err(system)?;
    if setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return Err(failed("the way back to root is open".into()));
    }
    Ok(())
}

/// Gives up all capabilities, or as root all but two.
pub(super) fn give_up_capabilities() -> Result<(), Error> {
    let had = caps::read(None, CapSet::Permitted)?;
    let keeps: CapsHashSet = if geteuid().is_root() {
        ROOT_KEEPS.into_iter().filter(|kept| had.contains(kept)).collect()
    } else {
        CapsHashSet::new()
    };
    // A kernel without ambient capabilities has none to give up.
    let _ = caps::clear(None, CapSet::Ambient);
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &keeps)?;
    caps::set(None, CapSet::Permitted, &keeps)?;
    Ok(())
}

/// Bounds the stacks of threads that libraries start in the workers, which inherit the limit: PipeWire's starts two for
/// each stream. glibc gives each of them what the limit allows when a program starts, usually 8 MiB, and all of it counts
/// as memory of the worker.
pub fn bound_thread_stacks() {
    let limit = rustix::process::getrlimit(Resource::Stack);
    let current = Some(limit.current.map_or(THREAD_STACK_BYTES, |now| now.min(THREAD_STACK_BYTES)));
    // Lowering a limit is refused to nobody.
    let _ = rustix::process::setrlimit(Resource::Stack, Rlimit { current, ..limit });
}

/// Bounds the resources of a worker. A worker that wants more memory ends, and another takes its place.
pub(super) fn limit_worker(limits: &Worker) {
    let lower = |resource, most: u64| {
        let maximum = rustix::process::getrlimit(resource).maximum;
        let most = maximum.map_or(most, |maximum| maximum.min(most));
        // Lowering a limit is refused to nobody.
        let _ = rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    };
    lower(Resource::Data, limits.memory_bytes_max());
    lower(Resource::Nofile, limits.descriptors_max());
    lower(Resource::Core, 0);
}

/// User and groups of this process, for the log.
pub(super) fn identity() -> String {
    let user = User::from_uid(geteuid()).ok().flatten().map_or_else(|| geteuid().to_string(), |user| user.name);
    let name = |group: Gid| Group::from_gid(group).ok().flatten().map_or_else(|| group.to_string(), |group| group.name);
    let groups = nix::unistd::getgroups().unwrap_or_default().into_iter().map(name).collect::<Vec<_>>().join(", ");
    if groups.is_empty() { format!("user {user}") } else { format!("user {user}, groups {groups}") }
}
