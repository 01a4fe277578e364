//! The sockets that the configuration names, opened while that is still allowed: before the daemon becomes its own
//! user.

use std::path::{Path, PathBuf};

use config::{Config, ListenAddress};

use super::ListenError;
use super::listener::Listener;

/// Sockets that are listened on, and not served yet.
#[derive(Debug)]
pub struct Sockets {
    pub(crate) control: Option<(Listener, PathBuf)>,
    pub(crate) metrics: Option<(Listener, ListenAddress)>,
}

impl Sockets {
    /// Opens the sockets that `config` names; the control socket is at `socket` by default.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn open(config: &Config, socket: &Path) -> Result<Self, ListenError> {
        let group = config.control.group.as_deref();
        let path = config.control.socket.as_deref().unwrap_or(socket).to_owned();
        let control = if path.as_os_str().is_empty() {
            None
        } else {
            Some((Listener::bind(&ListenAddress::Unix(path.clone()), group)?, path))
        };
        let metrics = match &config.metrics.listen {
            Some(address) => Some((Listener::bind(address, group)?, address.clone())),
            None => None,
        };
        Ok(Self { control, metrics })
    }

    /// Directories of the sockets' files, which are removed at the end.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        let control = self.control.as_ref().map(|(_, path)| path.as_path());
        let metrics = self.metrics.as_ref().and_then(|(_, address)| match address {
            ListenAddress::Unix(path) => Some(path.as_path()),
            ListenAddress::Tcp(_) => None,
        });
        control.into_iter().chain(metrics).filter_map(Path::parent)
    }
}
