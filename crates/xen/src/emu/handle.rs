//! An emulation in a thread of this process, for tests and demonstrations.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rustix::event::EventfdFlags;

use super::{Hypervisor, Stats, Toolstack};
use crate::{DomainId, Error, Result, Xen, XenSpec};

/// A running emulation; ends when dropped.
pub struct Handle {
    dir: PathBuf,
    stop: OwnedFd,
    thread: Option<JoinHandle<Result<()>>>,
}

/// Starts an emulation in `dir` (made if missing) in a thread of its own.
///
/// # Errors
///
/// Same as [`Hypervisor::bind`].
pub fn spawn(dir: &Path) -> Result<Handle> {
    spawn_with(dir, ())
}

/// Like [`spawn`], with a toolstack.
///
/// # Errors
///
/// Same as [`Hypervisor::bind`].
pub fn spawn_with(dir: &Path, toolstack: impl Toolstack + 'static) -> Result<Handle> {
    let hypervisor = Hypervisor::bind(dir)?.with_toolstack(toolstack);
    let doing = "start the emulated Xen";
    let stop = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).map_err(Error::system(doing))?;
    let shutdown = rustix::io::fcntl_dupfd_cloexec(&stop, 0).map_err(Error::system(doing))?;
    let thread = std::thread::Builder::new()
        .name("emulated-xen".into())
        .spawn(move || hypervisor.run(shutdown.as_fd()))
        .map_err(Error::system(doing))?;
    Ok(Handle { dir: dir.to_path_buf(), stop, thread: Some(thread) })
}

impl Handle {
    /// The emulation's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Value for a program's `--xen` option.
    #[must_use]
    pub fn spec(&self) -> XenSpec {
        XenSpec::Emu(self.dir.clone())
    }

    /// Enters as a domain.
    ///
    /// # Errors
    ///
    /// Same as [`Xen::open`].
    pub fn open(&self, domain: DomainId) -> Result<Xen> {
        Xen::open(&self.spec(), Some(domain))
    }

    /// Counters of the whole machine.
    ///
    /// # Errors
    ///
    /// Same as [`stats`](super::stats).
    pub fn stats(&self) -> Result<Stats> {
        super::stats(&self.dir)
    }

    /// Ends the emulation and returns its result.
    ///
    /// # Errors
    ///
    /// Same as [`Hypervisor::run`].
    pub fn stop(mut self) -> Result<()> {
        self.finish()
    }

    fn finish(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        rustix::io::write(&self.stop, &1_u64.to_ne_bytes()).map_err(Error::system("stop the emulated Xen"))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let ended = self.finish();
            debug_assert!(ended.is_ok(), "{ended:?}");
        }
    }
}
