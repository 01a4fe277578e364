//! The store's state of one client.

use std::collections::BTreeMap;

use super::tree::Overlay;
use crate::dirty::DirtySet;
use crate::wire::{Decoder, MESSAGE_MAX, Message, Op, PAYLOAD_MAX};

/// Id of a connection; never used twice by one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub(super) u64);

/// Size of output above which no further request is answered and no further event is written. A client that does not
/// read delays only itself; its output exceeds this size by one message at most.
pub(super) const OUTPUT_HIGH_BYTES: usize = 64 << 10;

/// Maximum numbers of waiting paths, per watch and in total; beyond them, events collapse.
const DIRTY_PER_WATCH: usize = 128;
const DIRTY_IN_TOTAL: usize = 1024;

/// A watch.
#[derive(Debug)]
pub(super) struct Watch {
    /// Path as the client gave it.
    pub(super) path: String,
    pub(super) token: String,
    /// Absolute form of `path`.
    pub(super) absolute: String,
}

impl Watch {
    /// An absolute path in the form that this watch's owner uses: relative if the watched path is.
    pub(super) fn reported<'a>(&self, absolute: &'a str) -> &'a str {
        let prefix = self.absolute.len().saturating_sub(self.path.len());
        absolute.get(prefix..).unwrap_or(absolute)
    }
}

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) domain: u16,
    pub(super) decoder: Decoder,
    pub(super) output: Vec<u8>,
    pub(super) watches: BTreeMap<u64, Watch>,
    pub(super) next_watch: u64,
    pub(super) transactions: BTreeMap<u32, Overlay>,
    pub(super) last_transaction: u32,
    pub(super) dirty: DirtySet<u64>,
}

impl Conn {
    pub(super) fn new(domain: u16) -> Self {
        Self {
            domain,
            decoder: Decoder::new(),
            output: Vec::new(),
            watches: BTreeMap::new(),
            next_watch: 0,
            transactions: BTreeMap::new(),
            last_transaction: 0,
            dirty: DirtySet::new(DIRTY_PER_WATCH, DIRTY_IN_TOTAL),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.output.len() >= OUTPUT_HIGH_BYTES
    }

    pub(super) fn is_within_bounds(&self) -> bool {
        self.output.len() < OUTPUT_HIGH_BYTES.saturating_add(MESSAGE_MAX)
            && self.dirty.len() <= DIRTY_IN_TOTAL.saturating_add(self.watches.len())
    }

    pub(super) fn reset(&mut self) {
        self.watches.clear();
        self.transactions.clear();
        self.dirty.clear();
    }

    /// Records an event for one watch. If path and token do not fit one message, the watched path replaces the path.
    pub(super) fn note(&mut self, key: u64, absolute: &str) {
        let Some(watch) = self.watches.get(&key) else { return };
        let path = watch.reported(absolute);
        let bytes = path.len().saturating_add(watch.token.len()).saturating_add(2);
        let path = if bytes > PAYLOAD_MAX { &watch.path } else { path };
        self.dirty.push(key, path, &watch.path);
    }

    /// Writes waiting events to the output while there is room.
    pub(super) fn pump_events(&mut self) {
        while !self.is_full() {
            let Some((key, path)) = self.dirty.pop() else { return };
            let Some(watch) = self.watches.get(&key) else { continue };
            let payload = format!("{path}\0{}\0", watch.token).into_bytes();
            self.emit(&Message { kind: Op::WatchEvent.raw(), req_id: 0, tx_id: 0, payload });
        }
    }

    pub(super) fn emit(&mut self, message: &Message) {
        // Replies and events always fit: see `Store::handle` and `note`.
        let fits = message.emit_into(&mut self.output);
        debug_assert!(fits.is_ok(), "message too large");
    }
}
