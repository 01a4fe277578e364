//! Counting what a machine, a daemon and this process hold: for tests that nothing leaks.

use std::collections::BTreeMap;
use std::fmt;

use xen::Usage;
use xen::emu::Stats;

/// Everything that is counted. Two of them are equal when nothing leaked in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Census {
    /// The emulated machine.
    pub machine: Stats,
    /// The daemon's hold on Xen.
    pub daemon: Usage,
    /// Watches of the host domain, the daemon's among them.
    pub watches: usize,
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Open descriptors of this process, by what they are: their number for each kind or file.
///
/// # Panics
/// Without `/proc`.
#[must_use]
pub fn file_descriptors() -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for entry in std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").flatten() {
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy();
        // `socket:[123]`
        let kind = target.split(":[").next().unwrap_or_default().to_owned();
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// Mappings of shared memory of this process. The allocator's and the threads' own come and go.
///
/// # Panics
/// Without `/proc`.
#[must_use]
pub fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    maps.lines().filter(|line| line.contains("memfd:")).count()
}

/// Watches that a meter leaves free, to be counted.
const FREE: usize = 512;
/// Watches of one connection of a meter: the store looks through them at each new one.
const EACH: usize = 512;

/// Counts the watches of domain 0: its quota, less what a meter can still set.
pub(crate) struct WatchMeter {
    /// Connections whose watches fill the quota but for [`FREE`].
    ballast: Vec<xenstore::Client>,
    filled: usize,
    probe: xenstore::Client,
}

impl WatchMeter {
    /// A meter on the store that `host` reaches.
    pub fn new(host: &xen::Xen) -> Self {
        let connect = || host.store().expect("the store");
        let filled = quota() - FREE;
        let ballast = (0..filled.div_ceil(EACH))
            .map(|connection| {
                let mut client = connect();
                for token in 0..EACH.min(filled - connection * EACH) {
                    client.watch(WATCHED, &token.to_string()).expect("the quota is not reached");
                }
                client.take_events();
                client
            })
            .collect();
        Self { ballast, filled, probe: connect() }
    }

    /// Watches of domain 0, the meter's own left out.
    pub fn count(&mut self) -> usize {
        debug_assert!(!self.ballast.is_empty());
        let mut free = 0;
        while self.probe.watch(WATCHED, &free.to_string()).is_ok() {
            free += 1;
        }
        for token in 0..free {
            self.probe.unwatch(WATCHED, &token.to_string()).expect("it was set before");
        }
        quota() - self.filled - free
    }
}

/// A node that never changes.
const WATCHED: &str = "/tool/xenstored";

fn quota() -> usize {
    xenstore::server::Limits::privileged().watches
}
