//! Lock for one process per card: two frontends on the same store nodes would take each other's connection away.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use xen::{DomainId, XenSpec};

use crate::{Error, Result};

/// The right to use a card; released when dropped, or when the process ends.
#[derive(Debug)]
pub(crate) struct CardLock {
    _file: File,
}

/// Returns the path of a card's lock file: in the emulation's directory, or in the system's run directory.
fn path(spec: &XenSpec, domain: DomainId, card: u32) -> PathBuf {
    match spec {
        XenSpec::Emu(dir) => dir.join(format!("domain-{domain}-card-{card}.lock")),
        XenSpec::Dev => Path::new("/run").join(format!("vsnd-card-{card}.lock")),
    }
}

impl CardLock {
    pub(crate) fn acquire(spec: &XenSpec, domain: DomainId, card: u32) -> Result<Self> {
        let path = path(spec, domain, card);
        let failed = |cause: std::io::Error| Error::Lock { path: path.display().to_string(), cause };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut process = String::new();
                let read = file.read_to_string(&mut process);
                let process = process.trim();
                let known = read.is_ok() && !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit());
                return Err(Error::CardInUse { card, process: if known { process.into() } else { "?".into() } });
            }
            Err(error) => return Err(failed(error.into())),
        }
        file.set_len(0).map_err(failed)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_user_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let spec = XenSpec::Emu(dir.path().into());
        let first = CardLock::acquire(&spec, DomainId(3), 0).unwrap();
        let other = CardLock::acquire(&spec, DomainId(3), 1).unwrap();
        let error = CardLock::acquire(&spec, DomainId(3), 0).unwrap_err().to_string();
        assert!(error.starts_with(&format!("sound card 0 is in use by process {}: ", std::process::id())), "{error}");
        drop((first, other));
        CardLock::acquire(&spec, DomainId(3), 0).unwrap();
    }
}
