//! Counts of the resources that a machine, a daemon and this process hold, for tests of leaks.

use std::collections::BTreeMap;
use std::fmt;

use xen::Usage;
use xen::emu::Stats;

/// All counts. Two of them are equal if nothing leaked in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Census {
    /// Counters of the emulated machine.
    pub machine: Stats,
    /// Resources of Xen that the daemon holds.
    pub daemon: Usage,
    /// Watches of the host domain, the daemon's among them.
    pub watches: usize,
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Number of open descriptors of this process for each kind or file.
///
/// # Panics
/// If `/proc` is not mounted.
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

/// Number of mappings of shared memory of this process. Those of the allocator and of threads vary, and are left out.
///
/// # Panics
/// If `/proc` is not mounted.
#[must_use]
pub fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    maps.lines().filter(|line| line.contains("memfd:")).count()
}

/// Watches that a meter leaves free for counting.
const FREE: usize = 512;
/// Maximum number of watches of one connection of a meter: the store searches all of them at each new one.
const EACH: usize = 512;

/// Counts the watches of domain 0: its quota minus the watches that a meter can still set.
pub(crate) struct WatchMeter {
    /// Connections whose watches fill the quota except [`FREE`] watches.
    ballast: Vec<xenstore::Client>,
    filled: usize,
    probe: xenstore::Client,
}

impl WatchMeter {
    /// A meter for the store of `host`.
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

    /// Number of watches of domain 0, without the meter's own.
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
