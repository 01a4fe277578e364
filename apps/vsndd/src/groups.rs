//! Control groups (cgroup v2): one for each worker, which bounds its memory, its threads and its processor time.
//!
//! The groups are used if the daemon is alone in its own group, as under systemd with `Delegate=`. Elsewhere a worker
//! has the limits that a process sets itself. Source: Documentation/admin-guide/cgroup-v2.rst.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use config::Worker;
use rustix::process::geteuid;
use tracing::{debug, info, warn};
use xen::DomainId;

/// Mount points of the system's groups: all of version 2, or version 2 beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// The daemon's own group within the one that it has taken over: processes may be in leaves only.
const BROKER: &str = "broker";
const WORKER: &str = "worker-";
/// The span in which processor time is counted, in microseconds.
const SPAN_US: u64 = 100_000;

/// The daemon's control group, in which each worker gets one.
#[derive(Debug, Clone)]
pub struct Groups {
    directory: PathBuf,
    /// Number of the next group: the last group of a guest may still exist while its next worker starts.
    next: u64,
}

/// A worker's control group. The group is removed when this value is dropped, unless a process is still in it.
#[derive(Debug)]
pub struct Group {
    directory: PathBuf,
}

impl Groups {
    /// Takes over the group that this process is alone in, for the user `owner`; `None` if there is no such group.
    ///
    /// To be called while this process still has the rights for that.
    #[must_use]
    pub fn take_over(owner: Option<&str>) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let mount = MOUNTS.map(Path::new).into_iter().find(|mount| mount.join("cgroup.controllers").exists())?;
        // The root group belongs to the whole system.
        let own = mount.join(Some(own).filter(|own| !own.is_empty())?);
        match Self::begin(&own, owner) {
            Ok(groups) => groups,
            Err(error) => {
                warn!("no control groups for workers: {}: {error}", own.display());
                None
            }
        }
    }

    fn begin(own: &Path, owner: Option<&str>) -> io::Result<Option<Self>> {
        let members = fs::read_to_string(own.join("cgroup.procs"))?;
        if members.trim() != std::process::id().to_string() {
            debug!("no control groups for workers: others are in {}", own.display());
            return Ok(None);
        }
        let directory = match (own.file_name(), own.parent()) {
            (Some(name), Some(parent)) if name == BROKER => parent.to_owned(),
            _ => {
                let broker = own.join(BROKER);
                match fs::create_dir(&broker) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    _ => {}
                }
                fs::write(broker.join("cgroup.procs"), members)?;
                own.to_owned()
            }
        };
        let groups = Self { directory, next: 0 };
        groups.remove_left();
        let had: Vec<&str> = ["memory", "pids", "cpu"]
            .into_iter()
            .filter(|controller| groups.put("cgroup.subtree_control", &format!("+{controller}")).is_ok())
            .collect();
        if had.is_empty() {
            debug!("no control groups for workers: {} has no controller to give on", groups.directory.display());
            return Ok(None);
        }
        if let Some(user) = owner.and_then(|name| nix::unistd::User::from_name(name).ok().flatten())
            && geteuid().is_root()
        {
            for name in ["", "cgroup.procs", "cgroup.subtree_control"] {
                let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
                std::os::unix::fs::chown(groups.directory.join(name), Some(uid), Some(gid))?;
            }
        }
        info!("each worker has a control group in {}: {}", groups.directory.display(), had.join(", "));
        Ok(Some(groups))
    }

    /// Directory in which groups are made and removed.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Removes the groups of workers whose daemon was killed.
    fn remove_left(&self) {
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(WORKER) {
                // A worker that ends later leaves an empty group behind.
                let _ = fs::remove_dir(entry.path());
            }
        }
    }

    fn put(&self, name: &str, value: &str) -> io::Result<()> {
        fs::write(self.directory.join(name), value)
    }

    /// Makes the group of a guest's worker, and puts `process`, the worker, into it.
    ///
    /// # Errors
    /// The system's error, if the group cannot be made.
    pub fn add(&mut self, guest: DomainId, limits: &Worker, process: u32) -> io::Result<Group> {
        self.next += 1;
        let group = Group { directory: self.directory.join(format!("{WORKER}{guest}-{}", self.next)) };
        fs::create_dir(&group.directory)?;
        let bounds = [
            // Above the process's own limit memory is refused; above the group's, a quarter higher, the process is
            // killed. Shared memory counts here as well.
            ("memory.max", (limits.memory_bytes_max() / 4 * 5).to_string()),
            ("pids.max", limits.threads_max().to_string()),
            ("cpu.max", format!("{} {SPAN_US}", limits.processor_percent_max() * (SPAN_US / 100))),
        ];
        for (name, bound) in bounds {
            // A system may lack one of these controllers.
            if let Err(error) = fs::write(group.directory.join(name), bound) {
                debug!("{}: {error}", group.directory.join(name).display());
            }
        }
        fs::write(group.directory.join("cgroup.procs"), process.to_string())?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.directory) {
            debug!("{}: {error}", self.directory.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with the files of a control group.
    fn group(members: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cgroup.procs"), members).unwrap();
        fs::write(dir.path().join("cgroup.subtree_control"), "").unwrap();
        dir
    }

    #[test]
    fn a_daemon_that_shares_its_group_with_others_makes_none() {
        let dir = group(&format!("1\n{}\n", std::process::id()));
        assert!(Groups::begin(dir.path(), None).unwrap().is_none());
        assert!(!dir.path().join(BROKER).exists());
    }

    #[test]
    fn a_daemon_that_is_alone_moves_into_a_leaf_and_removes_what_another_left() {
        let dir = group(&format!("{}\n", std::process::id()));
        fs::create_dir(dir.path().join("worker-3-1")).unwrap();
        let groups = Groups::begin(dir.path(), None).unwrap().unwrap();
        assert_eq!(groups.directory(), dir.path());
        let moved = fs::read_to_string(dir.path().join("broker/cgroup.procs")).unwrap();
        assert_eq!(moved.trim(), std::process::id().to_string());
        assert!(!dir.path().join("worker-3-1").exists());
        // A daemon that was started in the leaf recognizes that.
        let again = Groups::begin(&dir.path().join(BROKER), None).unwrap().unwrap();
        assert_eq!(again.directory(), dir.path());
    }

    #[test]
    fn a_worker_is_put_into_a_group_with_the_configured_bounds() {
        let dir = group(&format!("{}\n", std::process::id()));
        let mut groups = Groups::begin(dir.path(), None).unwrap().unwrap();
        let limits = Worker {
            memory_bytes_max: Some(400 << 20),
            threads_max: Some(99),
            processor_percent_max: Some(150),
            ..Worker::default()
        };
        let group = groups.add(DomainId(7), &limits, 4711).unwrap();
        let read = |name: &str| fs::read_to_string(group.directory.join(name)).unwrap();
        assert_eq!(group.directory, dir.path().join("worker-7-1"));
        assert_eq!(
            ["memory.max", "pids.max", "cpu.max", "cgroup.procs"].map(read),
            [(500 << 20).to_string(), "99".to_owned(), "150000 100000".to_owned(), "4711".to_owned(),]
        );
        let next = groups.add(DomainId(7), &limits, 4712).unwrap();
        assert_ne!(next.directory, group.directory);
    }
}
