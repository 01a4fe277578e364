//! Scheduling of a stream's device: by the stream's owner while no call of the device waits, by a thread of its own
//! otherwise.
//!
//! Most PCMs of cards answer immediately, and time says when they have something to do. A turn then needs no other
//! thread, and nobody has to be woken for it. Opening and closing always wait, and are never done by the owner.

use super::bridge::Bridge;
use crate::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Reasons, other than its bridge, to wake a player or a recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    /// Room in the device, or a position that is overdue: the time until the position of a device that moves in leaps is
    /// likely to move on.
    pub room: Option<Duration>,
    pub timeout: Option<Duration>,
}

/// A player or a recorder. Everything but [`run`](Self::run) takes the time as a parameter.
pub(super) trait Engine: Send + Sized + 'static {
    /// The engine's end of the ring.
    type Ring: Send + 'static;

    /// Begins to open the device: a turn collects the outcome, and gives up after `patience`.
    fn begin(&mut self, patience: Duration, now: Instant);

    /// Takes a turn. `overdue`: the time of the last wish is over, and nothing else happened.
    fn turn(&mut self, ring: &mut Self::Ring, overdue: bool, now: Instant) -> Wish;

    /// Ends the turns of a moment.
    fn settle(&mut self) {}

    /// Returns true if calls of the device may wait.
    fn needs_thread(&self) -> bool;

    /// Returns true if the engine has a device, or opens one.
    fn has_device(&self) -> bool;

    /// Takes turns until the bridge is over; then the device is closed.
    fn run(self, ring: Self::Ring);
}

/// The engine of a stream, as long as the owner runs it.
pub(super) struct Drive<E: Engine> {
    bridge: Arc<Bridge>,
    here: Option<(E, E::Ring)>,
    /// True if the owner did something that the engine has not seen.
    touched: bool,
    wake_at: Option<Instant>,
}

impl<E: Engine> Drive<E> {
    /// A drive without an engine: somebody else gives the turns.
    pub fn elsewhere(bridge: Arc<Bridge>) -> Self {
        Self { bridge, here: None, touched: false, wake_at: None }
    }

    /// Begins to open the device of `engine`.
    pub fn begin(&mut self, mut engine: E, ring: E::Ring) {
        let now = Instant::now();
        self.bridge.set_driven_by_owner(true);
        engine.begin(self.bridge.mode().patience, now);
        self.here = Some((engine, ring));
        self.wake_at = Some(now);
    }

    /// Notes that there is something new for the engine.
    pub fn touch(&mut self) {
        match self.here {
            Some(_) => self.touched = true,
            None => self.bridge.wake(),
        }
    }

    /// Time at which [`attend`](Self::attend) has something to do, if nothing happens.
    pub fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    /// Gives the engine a turn, if there is anything to do.
    ///
    /// # Errors
    /// The device needs a thread, and none could be started.
    pub fn attend(&mut self, now: Instant) -> Result<(), Error> {
        let Some((engine, ring)) = &mut self.here else { return Ok(()) };
        let overdue = self.wake_at.is_some_and(|at| now >= at);
        if !std::mem::take(&mut self.touched) && !overdue {
            return Ok(());
        }
        let wish = engine.turn(ring, overdue, now);
        // The owner waits for nothing but time.
        self.wake_at = wish.timeout.map(|timeout| now + wish.room.map_or(timeout, |leap| timeout.max(leap)));
        if engine.needs_thread() { self.hand_over() } else { Ok(()) }
    }

    /// Tells the engine that the owner has nothing more for it now.
    pub fn settle(&mut self) {
        if let Some((engine, _)) = &mut self.here {
            engine.settle();
        }
    }

    fn hand_over(&mut self) -> Result<(), Error> {
        self.wake_at = None;
        self.bridge.set_driven_by_owner(false);
        let Some((engine, ring)) = self.here.take() else { return Ok(()) };
        self.bridge.spawn(move || engine.run(ring))
    }
}

impl<E: Engine> Drop for Drive<E> {
    fn drop(&mut self) {
        if self.here.as_ref().is_some_and(|(engine, _)| !engine.has_device()) {
            return;
        }
        self.bridge.close();
        if self.hand_over().is_err() {
            // The engine was dropped here, and its device closed with it.
            self.bridge.end();
        }
    }
}
