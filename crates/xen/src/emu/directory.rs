//! Creation, locking and cleanup of the emulation's directory.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{HYPERVISOR_SOCKET, STORE_SOCKET};
use crate::{Error, Result};

const LOCK: &str = "lock";

/// A directory that belongs to us while this value lives.
pub(super) struct Directory {
    path: PathBuf,
    /// Locked file with our process id.
    _lock: OwnedFd,
}

impl Directory {
    /// Creates the directory (for this user only) if it is missing, and locks it.
    pub fn take(path: &Path) -> Result<Self> {
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(Error::system("make the emulation's directory")(error)),
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let lock = rustix::fs::open(path.join(LOCK), flags, Mode::RUSR | Mode::WUSR)
            .map_err(Error::system("open the emulation's lock file"))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let process = std::fs::read_to_string(path.join(LOCK)).unwrap_or_default();
                let process = process.trim();
                let process = if process.is_empty() { "?" } else { process };
                return Err(Error::DirectoryInUse { dir: path.to_path_buf(), process: process.to_string() });
            }
            Err(error) => return Err(Error::system("lock the emulation's directory")(error)),
        }
        let mut file = std::fs::File::from(lock);
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(Error::system("write the emulation's lock file"))?;
        Ok(Self { path: path.to_path_buf(), _lock: file.into() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A client that connects from now on gets "no emulated Xen" and not "connection refused".
        for name in [HYPERVISOR_SOCKET, STORE_SOCKET] {
            let _: Result<(), _> = std::fs::remove_file(self.path.join(name));
        }
    }
}
