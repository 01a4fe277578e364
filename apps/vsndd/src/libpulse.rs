//! Preparation of libpulse for the sandbox, where it can make nothing.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use host_audio::libpulse::{SESSION, SOCKETS, leave_nothing};

/// Makes the directory of a session's sockets, and prepares everything else that the library would make. Starts this
/// program once more if that takes another environment. `other_user` is true if the process will become another user.
pub(crate) fn prepare(other_user: bool) {
    if let Some(session) = std::env::var_os(SESSION).filter(|_| !other_user && std::env::var_os(SOCKETS).is_none()) {
        make_directory(Path::new(&session));
    }
    if let Err(error) = leave_nothing(other_user) {
        tracing::debug!("cannot start again: {error}");
    }
}

/// Makes the directory for the sockets of a session's server, as the library does. A session of another user is none
/// of ours.
fn make_directory(session: &Path) {
    let own = rustix::process::geteuid().as_raw();
    if session.metadata().is_ok_and(|session| session.uid() == own) {
        // The directory usually exists. Without it, the library says so.
        let _ = DirBuilder::new().mode(0o700).create(session.join("pulse"));
    }
}
