//! Libraries that devices load by name, loaded before a worker loses the right to map code.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use host_audio::DeviceSpec;
use tracing::{debug, warn};

/// Devices whose libraries a worker has loaded.
#[derive(Debug)]
pub struct Prepared(HashSet<DeviceSpec>);

impl Prepared {
    /// Loads the libraries of these devices. A library that cannot be loaded is logged: its device cannot be opened.
    pub(super) fn load(devices: HashSet<DeviceSpec>) -> Self {
        for library in missing(&devices) {
            match xen::library::load(&library) {
                Ok(()) => debug!("loaded {}", library.display()),
                Err(error) => warn!("a library of a device cannot be loaded: {error}"),
            }
        }
        Self(devices)
    }

    /// Returns true if these devices need no library that this process does not have.
    pub(crate) fn cover(&mut self, devices: HashSet<DeviceSpec>) -> bool {
        let new: HashSet<DeviceSpec> = devices.into_iter().filter(|device| !self.0.contains(device)).collect();
        let covered = new.is_empty() || missing(&new).is_empty();
        if covered {
            self.0.extend(new);
        }
        covered
    }
}

/// Libraries of these devices that are not loaded.
fn missing(devices: &HashSet<DeviceSpec>) -> Vec<PathBuf> {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let loaded = xen::library::loaded();
    let there: BTreeSet<PathBuf> = loaded.iter().map(|path| whole(path)).collect();
    let wanted = host_audio::libraries(devices, &loaded);
    wanted.into_iter().filter(|path| !there.contains(&whole(path))).collect()
}
