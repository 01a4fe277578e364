//! Start of a guest's worker: a process of its own that runs this same program.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use config::Worker;
use rustix::pipe::{PipeFlags, pipe_with};
use tracing::warn;
use xen::DomainId;

use super::plugins;
use crate::groups::{Group, Groups};

/// Starts workers.
pub trait Launch {
    /// Starts the worker of `guest`, called `name`, served from domain `own`: [`work`](crate::work) with the
    /// descriptors `lent` and `link`. The worker itself applies those of its limits that it can.
    ///
    /// # Errors
    /// The system's error, if the worker cannot be started.
    fn launch(
        &mut self,
        own: DomainId,
        guest: DomainId,
        name: &str,
        lent: OwnedFd,
        link: UnixStream,
        limits: &Worker,
    ) -> io::Result<Box<dyn Running>>;
}

/// A worker that was started.
pub trait Running {
    /// Kills the worker immediately.
    fn kill(&mut self);

    /// Returns true if the worker has ended; nothing of it remains then.
    fn is_over(&mut self) -> bool;

    /// Reading end of the pipe into which the worker prints, unless it prints to the log itself; returned only once.
    fn take_log(&mut self) -> Option<OwnedFd> {
        None
    }

    /// Number of the worker's process, if it has one of its own.
    fn process(&self) -> Option<u32>;
}

/// The running program, even if another version was installed in its place.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Workers as processes.
#[derive(Debug, Clone, Default)]
pub struct Processes {
    /// Arguments besides the one that names the guest.
    pub arguments: Vec<OsString>,
    /// Control groups, where each worker gets one of its own.
    pub groups: Option<Groups>,
}

impl Launch for Processes {
    fn launch(
        &mut self,
        own: DomainId,
        guest: DomainId,
        name: &str,
        lent: OwnedFd,
        link: UnixStream,
        limits: &Worker,
    ) -> io::Result<Box<dyn Running>> {
        // The worker never waits for the reader of this pipe.
        let (log, theirs) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let mut command = Command::new(THIS_PROGRAM);
        for (variable, properties) in plugins::properties(name) {
            // A value from the environment has priority.
            if std::env::var_os(variable).is_none() {
                command.env(variable, properties);
            }
        }
        let child = command
            .arg0("vsndd")
            .arg(format!("--worker={guest}"))
            .arg(format!("--domain={own}"))
            .args(&self.arguments)
            // Only the broker talks to the service manager.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(lent))
            .stdout(Stdio::from(OwnedFd::from(link)))
            .stderr(Stdio::from(theirs))
            .spawn()?;
        // The worker does not serve yet: it waits for the first order.
        let group = self.groups.as_mut().and_then(|groups| match groups.add(guest, limits, child.id()) {
            Ok(group) => Some(group),
            Err(error) => {
                warn!("domain {guest}: no control group for its worker: {error}");
                None
            }
        });
        Ok(Box::new(Process { child, log: Some(log), group }))
    }
}

struct Process {
    child: Child,
    log: Option<OwnedFd>,
    group: Option<Group>,
}

impl Running for Process {
    fn kill(&mut self) {
        // The worker may have ended by itself.
        let _ = self.child.kill();
    }

    fn is_over(&mut self) -> bool {
        let over = !matches!(self.child.try_wait(), Ok(None));
        if over {
            self.group = None;
        }
        over
    }

    fn take_log(&mut self) -> Option<OwnedFd> {
        self.log.take()
    }

    fn process(&self) -> Option<u32> {
        Some(self.child.id())
    }
}
