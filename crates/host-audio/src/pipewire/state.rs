//! State shared by a stream and its PipeWire node.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::live::Event;
use crate::{Error, ServerVolume};

/// State shared by node and stream; sizes in the stream's frames.
#[derive(Debug)]
pub(super) struct State {
    /// Readable when the stream is lost or has a new volume, and after a cycle where somebody waits for one.
    pub event: Event,
    /// True while somebody waits for a cycle.
    pub watched: AtomicBool,
    /// True while the stream plays or captures; otherwise it plays silence, or discards what it is given.
    pub running: AtomicBool,
    pub cycles: AtomicU32,
    pub cycle_frames: AtomicU32,
    pub latency_frames: AtomicU32,
    /// Readable, too, when the stream is lost or has a new volume; set once its owner does its turns.
    owner: OnceLock<Arc<Event>>,
    lost: AtomicBool,
    reason: Mutex<Option<String>>,
    /// Volume and mute that the server has for the stream; `renewed` while nobody has taken them.
    renewed: AtomicBool,
    volume: Mutex<Option<ServerVolume>>,
}

impl State {
    pub fn new() -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self {
            event: Event::new()?,
            watched: AtomicBool::new(false),
            running: AtomicBool::new(false),
            cycles: AtomicU32::new(0),
            cycle_frames: AtomicU32::new(0),
            latency_frames: AtomicU32::new(0),
            owner: OnceLock::new(),
            lost: AtomicBool::new(false),
            reason: Mutex::new(None),
            renewed: AtomicBool::new(false),
            volume: Mutex::new(None),
        }))
    }

    /// Notes the end of a cycle of `frames`, which are heard `latency` later.
    pub fn cycled(&self, frames: usize, latency: i64) {
        self.cycle_frames.store(frames as u32, Relaxed);
        self.latency_frames.store(latency.clamp(0, i64::from(u32::MAX)) as u32, Relaxed);
        self.cycles.fetch_add(1, Release);
        if self.watched.load(Relaxed) {
            self.event.set();
        }
    }

    /// Volume and mute that the server has for the stream, if they were not taken yet.
    pub fn take_volume(&self) -> Option<ServerVolume> {
        if !self.renewed.swap(false, Acquire) {
            return None;
        }
        // The node's thread stores the volume in between two cycles, in no thread of the graph's.
        self.volume.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub fn set_volume(&self, volume: ServerVolume) {
        *self.volume.lock().unwrap_or_else(PoisonError::into_inner) = Some(volume);
        self.renewed.store(true, Release);
        self.report();
    }

    /// Sets what is made readable by a report, in addition to the event.
    pub fn report_to(&self, owner: &Arc<Event>) {
        // A stream has the same owner as long as it lives.
        let _ = self.owner.set(Arc::clone(owner));
    }

    fn report(&self) {
        self.event.set();
        if let Some(owner) = self.owner.get() {
            owner.set();
        }
    }

    /// The reason why the stream has ended, if it has.
    pub fn loss(&self) -> Option<String> {
        if !self.lost.load(Acquire) {
            return None;
        }
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that the stream has ended; the first reason counts.
    pub fn lose(&self, reason: String) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.lost.store(true, Release);
        self.report();
    }
}
