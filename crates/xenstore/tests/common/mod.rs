//! A running server in a directory of its own, and its clients.

use std::path::PathBuf;
use std::time::Duration;

use vsnd_xenstore::{Client, Perm, server};

/// Time to wait for an expected event: enough for a loaded machine, but short enough to fail in time.
pub const SOON: Duration = Duration::from_secs(60);
/// Time to wait for an event that must not come.
pub const QUIET: Duration = Duration::from_millis(50);

/// A server, and the directory of its socket.
pub struct Fixture {
    pub handle: server::Handle,
    pub dir: tempfile::TempDir,
}

impl Fixture {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let handle = server::spawn(&dir.path().join("socket")).unwrap();
        Self { handle, dir }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    pub fn dom0(&self) -> Client {
        Client::connect(&self.socket()).unwrap()
    }

    /// A guest with a home directory of its own.
    pub fn guest(&self, domid: u16) -> Client {
        self.handle.with(move |server| {
            server.domain_introduced(domid);
            let home = vsnd_xenstore::path::domain_dir(domid);
            let mut store = server.store_mut();
            store.write(&home, b"").unwrap();
            store.set_perms(&home, &[Perm::none(domid)]).unwrap();
        });
        Client::from_fd(self.handle.connect_domain(domid).unwrap()).unwrap()
    }
}
