//! How a guest's worker is started: as a process of its own, this program once more.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::pipe::{PipeFlags, pipe_with};
use tracing::warn;
use xen::DomainId;

use super::plugins;
use crate::config::Worker;
use crate::groups::{Group, Groups};

/// Starts workers.
pub trait Launch {
    /// Starts the worker of `guest`, which people call `name`, served from domain `own`: [`work`](crate::work) with these two
    /// descriptors. It sets itself what it can of its limits.
    ///
    /// # Errors
    /// The system's.
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
    /// Ends it at once.
    fn kill(&mut self);

    /// Whether it has ended; then it leaves nothing behind.
    fn is_over(&mut self) -> bool;

    /// The end of a pipe into which it prints, where that is not the log itself; to be asked for once.
    fn take_log(&mut self) -> Option<OwnedFd> {
        None
    }

    /// Its process, where it has one of its own.
    fn process(&self) -> Option<u32>;
}

/// The program that runs, also where another version lies in its place by now.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Workers as processes.
#[derive(Debug, Clone, Default)]
pub struct Processes {
    /// Arguments beside the one that names the guest.
    pub arguments: Vec<OsString>,
    /// Where each of them gets a control group of its own.
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
        // It never waits for whoever reads that.
        let (log, theirs) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let mut command = Command::new(THIS_PROGRAM);
        for (variable, properties) in plugins::properties(name) {
            // Whoever has set it knows better.
            if std::env::var_os(variable).is_none() {
                command.env(variable, properties);
            }
        }
        let child = command
            .arg0("vsndd")
            .arg(format!("--worker={guest}"))
            .arg(format!("--domain={own}"))
            .args(&self.arguments)
            // The service manager's business is the broker's.
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
        // It may have ended by itself.
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
