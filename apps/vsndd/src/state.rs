//! The directory for data that outlives the daemon.

use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use tracing::warn;
use xen::XenSpec;

/// The directory of a daemon on a real Xen.
const DEFAULT: &str = "/var/lib/vsnd";

/// The directory that is used: `named`, else the service manager's, else that of the Xen that is served.
#[must_use]
pub fn directory(named: Option<PathBuf>, xen: &XenSpec) -> PathBuf {
    // Several directories are separated by colons; the daemon's own is the first.
    let of_service = env::var_os("STATE_DIRECTORY").and_then(|list| env::split_paths(&list).next());
    named.or(of_service.filter(|path| path.is_absolute())).unwrap_or_else(|| match xen {
        XenSpec::Dev => DEFAULT.into(),
        XenSpec::Emu(directory) => directory.clone(),
    })
}

/// Makes the directory if it is missing, for the user `owner`; without a directory the daemon goes on and keeps
/// nothing.
pub fn prepare(directory: &Path, owner: Option<&str>) {
    let make = || -> io::Result<()> {
        if directory.is_dir() {
            return Ok(());
        }
        fs::DirBuilder::new().mode(0o700).recursive(true).create(directory)?;
        if let Some(user) = owner.and_then(|name| nix::unistd::User::from_name(name).ok().flatten()) {
            chown(directory, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        Ok(())
    };
    if let Err(error) = make() {
        warn!("{}: {error}: what is set with `vsnd` will not outlive the daemon", directory.display());
    }
}
