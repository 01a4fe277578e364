//! The driver bound to a card: XenBus states, registration and removal of the card.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sndif::XenbusState;
use xen::{DomainId, Xen};

use super::channel::{Observed, Pair, Release};
use super::config::{self, StreamConfig};
use super::core::Pcm;
use super::errno::Errno;
use crate::wait::{PATIENCE, eventually};

/// Time-outs of the driver and the core.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// Time that the driver waits for an answer.
    pub answer: Duration,
    /// Minimum time that the core waits for a wake-up. Linux: 100 ms, or 1.1 times the buffer's length.
    pub wake_up: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self { answer: Duration::from_secs(3), wake_up: Duration::from_secs(10) }
    }
}

/// A stream of the card with its channels.
pub(super) struct Channels {
    pub config: StreamConfig,
    pub pair: Arc<Mutex<Pair>>,
}

struct Card {
    /// The frontend's XenBus state.
    state: XenbusState,
    channels: Vec<Channels>,
    /// Set while applications can open the card; the flag becomes false when the card is removed.
    registered: Option<Arc<AtomicBool>>,
    /// Number of open substreams.
    open: usize,
    /// Number of times that a card was registered.
    registrations: usize,
}

pub(super) struct Shared {
    pub xen: Xen,
    pub backend_domain: DomainId,
    pub timings: Timings,
    release: Release,
    frontend: String,
    backend: String,
    card: Mutex<Card>,
    changed: Condvar,
    stopping: AtomicBool,
}

/// The driver, bound to a card of a guest.
///
/// Dropping it models the sudden end of the guest; [`remove`](Self::remove) removes the driver.
pub struct LinuxFrontend {
    shared: Arc<Shared>,
    watcher: Option<JoinHandle<()>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LinuxFrontend {
    /// Binds the driver to card 0 of the domain of `xen`.
    ///
    /// # Panics
    /// If the domain has no such card.
    #[must_use]
    pub fn probe(xen: &Xen) -> Self {
        Self::probe_with(xen, 0, Timings::default())
    }

    /// Binds the driver of a release to the first card.
    ///
    /// # Panics
    /// If the domain has no such card.
    #[must_use]
    pub fn probe_release(xen: &Xen, release: Release) -> Self {
        Self::bind(xen, 0, Timings::default(), release)
    }

    /// Binds the driver to a card.
    ///
    /// # Panics
    /// If the domain has no such card.
    #[must_use]
    pub fn probe_with(xen: &Xen, card: u32, timings: Timings) -> Self {
        Self::bind(xen, card, timings, Release::Older)
    }

    fn bind(xen: &Xen, card: u32, timings: Timings, release: Release) -> Self {
        let mut store = xen.store().expect("the store");
        let frontend = format!("/local/domain/{}/device/vsnd/{card}", xen.domain());
        let backend = store.read_string(&format!("{frontend}/backend")).expect("the card is attached");
        let backend_domain = store.read_string(&format!("{frontend}/backend-id")).expect("the card is attached");
        let state = store.read(&format!("{frontend}/state")).expect("the card is attached");
        let shared = Arc::new(Shared {
            xen: xen.clone(),
            backend_domain: backend_domain.parse().expect("a domain's number"),
            timings,
            release,
            frontend,
            backend,
            card: Mutex::new(Card {
                state: XenbusState::from_node(&state),
                channels: Vec::new(),
                registered: None,
                open: 0,
                registrations: 0,
            }),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
        });
        shared.switch(&mut store, XenbusState::Initialising);
        let theirs = Arc::clone(&shared);
        let watcher = std::thread::Builder::new().name("xenwatch".into()).spawn(move || theirs.watch(&mut store));
        Self { shared, watcher: Some(watcher.expect("a thread")) }
    }

    /// Waits until the card is registered.
    ///
    /// # Panics
    /// If it does not come.
    pub fn wait_card(&self) {
        self.wait_registrations(1);
    }

    /// Waits until a card is registered that is at least the `count`th one.
    ///
    /// # Panics
    /// If it does not come.
    pub fn wait_registrations(&self, count: usize) {
        let there = || {
            let card = lock(&self.shared.card);
            card.registered.is_some() && card.registrations >= count
        };
        let patience = PATIENCE + 4 * self.shared.timings.answer;
        assert!(eventually(patience, there), "the card does not come; state {}", lock(&self.shared.card).state);
    }

    /// Number of cards registered so far.
    #[must_use]
    pub fn registrations(&self) -> usize {
        lock(&self.shared.card).registrations
    }

    /// Returns true if applications find a card.
    #[must_use]
    pub fn has_card(&self) -> bool {
        lock(&self.shared.card).registered.is_some()
    }

    /// The frontend's XenBus state.
    #[must_use]
    pub fn state(&self) -> XenbusState {
        lock(&self.shared.card).state
    }

    /// Traffic observed on a stream's channels; streams are numbered in the driver's order.
    ///
    /// # Panics
    /// If there is no such stream.
    #[must_use]
    pub fn observed(&self, stream: usize) -> Observed {
        lock(&lock(&self.shared.card).channels[stream].pair).observed.clone()
    }

    /// Number of unread events in a stream's page.
    ///
    /// # Panics
    /// If there is no such stream.
    #[must_use]
    pub fn unread_events(&self, stream: usize) -> u32 {
        lock(&lock(&self.shared.card).channels[stream].pair).unread_events()
    }

    /// Opens the `index`th playback substream of a PCM device.
    ///
    /// # Errors
    /// `ENODEV` if there is no card, or no such substream.
    pub fn open_playback(&self, pcm: usize, index: usize) -> Result<Pcm, Errno> {
        self.open(pcm, false, index)
    }

    /// Opens the `index`th capture substream of a PCM device.
    ///
    /// # Errors
    /// Same as [`open_playback`](Self::open_playback).
    pub fn open_capture(&self, pcm: usize, index: usize) -> Result<Pcm, Errno> {
        self.open(pcm, true, index)
    }

    fn open(&self, pcm: usize, capture: bool, index: usize) -> Result<Pcm, Errno> {
        let mut card = lock(&self.shared.card);
        let present = card.registered.clone().ok_or(Errno::ENODEV)?;
        let of_this_kind = |channels: &&Channels| channels.config.pcm == pcm && channels.config.capture == capture;
        let channels = card.channels.iter().filter(of_this_kind).nth(index).ok_or(Errno::ENODEV)?;
        let (config, pair) = (channels.config.clone(), Arc::clone(&channels.pair));
        card.open += 1;
        drop(card);
        Ok(Pcm::open(Arc::clone(&self.shared), present, config, pair))
    }

    /// Removes the driver and returns the time that the backend took to reach InitWait; `None` if the driver
    /// stopped waiting.
    ///
    /// # Panics
    /// If an application has the card open.
    pub fn remove(mut self) -> Option<Duration> {
        assert_eq!(lock(&self.shared.card).open, 0, "the kernel refuses to remove a driver that is in use");
        self.stop_watching();
        let mut store = self.shared.xen.store().expect("the store");
        let shared = &self.shared;
        shared.switch(&mut store, XenbusState::Closing);
        let begun = Instant::now();
        let state = format!("{}/state", shared.backend);
        let in_time = (0..99).any(|_| {
            let there = store.read(&state).is_ok_and(|value| value == b"2");
            if !there {
                std::thread::sleep(Duration::from_millis(10));
            }
            there
        });
        let waited = begun.elapsed();
        shared.finish();
        shared.switch(&mut store, XenbusState::Closed);
        in_time.then_some(waited)
    }

    fn stop_watching(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.changed.notify_all();
        if let Some(watcher) = self.watcher.take() {
            let ended = watcher.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the guest's kernel died");
        }
    }
}

impl Drop for LinuxFrontend {
    fn drop(&mut self) {
        self.stop_watching();
    }
}

impl Shared {
    fn watch(&self, store: &mut xenstore::Client) {
        const LOOK: Duration = Duration::from_millis(20);
        if store.watch(&format!("{}/state", self.backend), "").is_err() {
            return;
        }
        while !self.stopping.load(Ordering::Acquire) {
            match store.wait_event(LOOK) {
                Ok(Some(_)) => self.backend_changed(store),
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }

    fn backend_changed(&self, store: &mut xenstore::Client) {
        use XenbusState as S;
        // A watch event only means that something changed: read the current state.
        let state = store.read_opt(&format!("{}/state", self.backend)).ok().flatten().unwrap_or_default();
        match S::from_node(&state) {
            S::Initialised | S::Reconfiguring | S::Reconfigured | S::Closing => {}
            S::Initialising => self.disconnect(store),
            S::InitWait => {
                self.disconnect(store);
                if self.stopping.load(Ordering::Acquire) {
                    return;
                }
                match self.create_channels(store) {
                    Ok(()) => self.switch(store, S::Initialised),
                    // `xenbus_dev_fatal`
                    Err(_) => self.switch(store, S::Closing),
                }
            }
            S::Connected => {
                if lock(&self.card).state == S::Initialised {
                    let mut card = lock(&self.card);
                    card.registered = Some(Arc::new(AtomicBool::new(true)));
                    card.registrations += 1;
                    drop(card);
                    self.switch(store, S::Connected);
                }
            }
            S::Unknown | S::Closed => {
                if lock(&self.card).state != S::Closed {
                    self.disconnect(store);
                }
            }
        }
    }

    fn disconnect(&self, store: &mut xenstore::Client) {
        self.finish();
        self.switch(store, XenbusState::Initialising);
    }

    /// Removes the card, waits until no application has it open any more, frees the channels.
    fn finish(&self) {
        let mut card = lock(&self.card);
        if let Some(present) = card.registered.take() {
            present.store(false, Ordering::Release);
        }
        while card.open > 0 && !self.stopping.load(Ordering::Acquire) {
            let waited = self.changed.wait_timeout(card, Duration::from_millis(20));
            card = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        card.channels.clear();
    }

    fn create_channels(&self, store: &mut xenstore::Client) -> Result<(), Errno> {
        let mut channels = Vec::new();
        for config in config::card(store, &self.frontend)? {
            let pair = Pair::new(&self.xen, self.backend_domain, self.release).map_err(|_| Errno::EIO)?;
            channels.push(Channels { config, pair: Arc::new(Mutex::new(pair)) });
        }
        let written = store.transaction(|transaction| {
            for Channels { config, pair } in &channels {
                let names = ["ring-ref", "event-channel", "evt-ring-ref", "evt-event-channel"];
                for (name, value) in names.into_iter().zip(lock(pair).nodes()) {
                    transaction.write(&format!("{}/{name}", config.path), value.to_string().as_bytes())?;
                }
            }
            Ok(())
        });
        lock(&self.card).channels = channels;
        written.map_err(|_| Errno::EIO)
    }

    fn switch(&self, store: &mut xenstore::Client, state: XenbusState) {
        let mut card = lock(&self.card);
        if card.state == state {
            return;
        }
        card.state = state;
        drop(card);
        let path = format!("{}/state", self.frontend);
        // A node that is gone is not created again.
        let _ = store.transaction(|transaction| {
            if transaction.exists(&path)? { transaction.write(&path, state.node().as_bytes()) } else { Ok(()) }
        });
    }

    /// Records that an application closed a substream.
    pub fn closed(&self) {
        lock(&self.card).open -= 1;
        self.changed.notify_all();
    }
}
