//! Waiting watch events, in bounded memory.
//!
//! An event only means "look again", so two equal events can be merged into one, and many paths under one watch can be
//! replaced by the watched path. Both sides use this: the server for clients that do not read, the client for owners
//! that are busy.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Maximum number of waiting paths of one watch; more collapse into the watched path.
pub(crate) const PATHS_PER_WATCH: usize = 256;
/// Maximum number of waiting paths of all watches together; more make all of them collapse.
pub(crate) const PATHS_IN_TOTAL: usize = 4096;

/// A FIFO of events, each entry once. `K` names the watch.
#[derive(Debug)]
pub(crate) struct DirtySet<K> {
    order: VecDeque<(K, String)>,
    watches: BTreeMap<K, Dirty>,
    per_watch: usize,
    total: usize,
}

#[derive(Debug)]
struct Dirty {
    watched: String,
    paths: BTreeSet<String>,
    // Once set, the only entry left is the watched path, and further paths change nothing.
    collapsed: bool,
}

impl<K: Copy + Ord> DirtySet<K> {
    pub(crate) fn new(per_watch: usize, total: usize) -> Self {
        Self { order: VecDeque::new(), watches: BTreeMap::new(), per_watch, total }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Records that `path` changed for watch `key`, which is at `watched`.
    pub(crate) fn push(&mut self, key: K, path: &str, watched: &str) {
        let dirty = self.watches.entry(key).or_insert_with(|| Dirty {
            watched: watched.to_owned(),
            paths: BTreeSet::new(),
            collapsed: false,
        });
        if dirty.collapsed || !dirty.paths.insert(path.to_owned()) {
            return;
        }
        self.order.push_back((key, path.to_owned()));
        if dirty.paths.len() > self.per_watch {
            self.collapse(|other| *other == key);
        } else if self.order.len() > self.total {
            self.collapse(|_| true);
        }
    }

    fn collapse(&mut self, which: impl Fn(&K) -> bool) {
        self.order.retain(|(key, _)| !which(key));
        for (key, dirty) in self.watches.iter_mut().filter(|(key, _)| which(key)) {
            dirty.collapsed = true;
            dirty.paths = BTreeSet::new();
            self.order.push_back((*key, dirty.watched.clone()));
        }
    }

    pub(crate) fn pop(&mut self) -> Option<(K, String)> {
        let (key, path) = self.order.pop_front()?;
        if let Some(dirty) = self.watches.get_mut(&key) {
            dirty.paths.remove(&path);
            if dirty.paths.is_empty() {
                self.watches.remove(&key);
            }
        }
        Some((key, path))
    }

    /// Drops all waiting events of a watch.
    pub(crate) fn forget(&mut self, key: K) {
        if self.watches.remove(&key).is_some() {
            self.order.retain(|(other, _)| *other != key);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.order.clear();
        self.watches.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_events_are_merged_and_order_is_kept() {
        let mut set = DirtySet::new(8, 64);
        for path in ["/w/a", "/w/b", "/w/a"] {
            set.push(1, path, "/w");
        }
        assert_eq!(set.pop(), Some((1, "/w/a".into())));
        set.push(1, "/w/a", "/w");
        assert_eq!(set.pop(), Some((1, "/w/b".into())));
        assert_eq!(set.pop(), Some((1, "/w/a".into())));
        assert_eq!(set.pop(), None);
    }

    #[test]
    fn xsa_349_too_many_paths_collapse_into_the_watched_one() {
        let mut set = DirtySet::new(3, 64);
        set.push(2, "/other", "/other");
        for n in 0..1000 {
            set.push(1, &format!("/w/{n}"), "/w");
        }
        assert_eq!(set.len(), 2);
        assert_eq!(set.pop(), Some((2, "/other".into())));
        assert_eq!(set.pop(), Some((1, "/w".into())));
        set.push(1, "/w/again", "/w");
        assert_eq!(set.pop(), Some((1, "/w/again".into())));
    }

    proptest! {
        #[test]
        fn every_change_is_covered_by_what_comes_out_and_memory_is_bounded(
            steps in prop::collection::vec((0..6u8, 0..12u8, any::<bool>()), 0..200)
        ) {
            let mut set = DirtySet::new(4, 10);
            let mut owed: Vec<(u8, String)> = Vec::new();
            let settle = |owed: &mut Vec<(u8, String)>, got: Option<(u8, String)>| {
                if let Some((key, path)) = got {
                    owed.retain(|(k, p)| !(*k == key && crate::path::covers(&path, p)));
                }
            };
            for (key, leaf, take) in steps {
                let (watched, path) = (format!("/{key}"), format!("/{key}/{leaf}"));
                set.push(key, &path, &watched);
                owed.push((key, path));
                prop_assert!(set.len() <= 10);
                if take {
                    settle(&mut owed, set.pop());
                }
            }
            while let Some(got) = set.pop() {
                settle(&mut owed, Some(got));
            }
            prop_assert!(owed.is_empty(), "{owed:?}");
            prop_assert!(set.watches.is_empty());
        }
    }
}
