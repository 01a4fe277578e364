//! The device of a stream or its stand-in, for playback and capture alike: does what [`failover`](super::failover)
//! decides.

use super::bridge::Bridge;
use super::failover::{Due, Entry, Failover, Return};
use super::reopen::Opener;
use super::watch::Watch;
use super::{Fault, Opened};
use crate::{Error, Fallback, Notice};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The part of fail-over in which playback and capture differ.
pub(super) trait Side<D: ?Sized> {
    /// Returns true while a stream plays or captures, with the device or its stand-in.
    fn is_busy(&self) -> bool;

    /// Returns true if the device has frames to play or to give, or is to be given some.
    fn has_to_move(&self) -> bool;

    /// Switches to a device; returns the most frames that the device plays or captures at a time.
    fn take_up(&mut self, opened: Opened<D>, now: Instant) -> u64;

    /// Switches to a stand-in; returns the device.
    fn stand_in(&mut self, now: Instant) -> Opened<D>;

    /// Makes a device that stood still begin again.
    fn reset(&mut self, opened: &mut Opened<D>, now: Instant) -> Result<(), Fault>;

    /// Makes a device play or capture beside the stand-in.
    fn try_out(&mut self, opened: &mut Opened<D>, now: Instant) -> Result<(), Fault>;

    /// Returns true if a device beside the stand-in moves, and can take over from it.
    fn has_proven(&mut self, opened: &mut Opened<D>, now: Instant) -> Result<bool, Fault>;
}

/// Result of a turn with the device or its stand-in.
pub(super) struct Progress {
    pub result: Result<(), Fault>,
    /// True if the position has moved on.
    pub moved: bool,
    /// True if the stream's owner was told of that.
    pub told: bool,
}

/// A stream's device, its fail-over state, and the device on trial.
pub(super) struct Supply<D: ?Sized> {
    bridge: Arc<Bridge>,
    opener: Opener<D>,
    failover: Failover,
    watch: Watch,
    rate_hz: u32,
    /// The device, while it is on trial.
    on_trial: Option<Opened<D>>,
    /// End of the wait for the device to be opened for the first time; `None` once the outcome is decided.
    undecided_until: Option<Instant>,
}

impl<D: ?Sized + 'static> Supply<D>
where
    Opened<D>: Send,
{
    pub fn new(bridge: Arc<Bridge>, opener: Opener<D>, rate_hz: u32) -> Self {
        let watch = Watch::new(0, rate_hz, true, Instant::now());
        Self { bridge, opener, failover: Failover::new(), watch, rate_hz, on_trial: None, undecided_until: None }
    }

    /// Begins to open the device for the first time. After `patience` without it the stream goes on silently, or is
    /// refused.
    pub fn begin(&mut self, patience: Duration, now: Instant) {
        self.undecided_until = Some(now + patience);
        if let Err(error) = self.opener.begin(&self.bridge) {
            self.lose(error, now);
        }
    }

    /// Returns true if there is a device to be closed, or an attempt to open one.
    pub fn has_device(&self) -> bool {
        self.failover.is_used() || self.on_trial.is_some() || self.failover.is_opening()
    }

    /// The device on trial.
    pub fn on_trial(&self) -> Option<&D> {
        self.on_trial.as_ref().map(|opened| &*opened.device)
    }

    /// Closes the device that an attempt under way opens, at the end; waits for the attempt, but not for long.
    pub fn end(self) {
        if self.failover.is_opening() {
            drop(self.opener.outcome_within(self.bridge.mode().patience));
        }
    }

    /// Time until [`Self::step`] has something to do, if nothing happens.
    pub fn due_in(&self, now: Instant) -> Option<Duration> {
        match self.undecided_until {
            Some(until) => Some(until.saturating_duration_since(now)),
            None => self.failover.due_in(now),
        }
    }

    /// Does the work that is due for the device; before each turn.
    pub fn step(&mut self, side: &mut impl Side<D>, now: Instant) {
        match self.failover.due(now) {
            Due::Nothing => {}
            Due::Judge => self.judge(side, now),
            Due::GiveUp => self.lose(Error::stands_still(&self.bridge.mode().name), now),
            Due::Open => {
                if let Err(error) = self.opener.begin(&self.bridge) {
                    self.lose(error, now);
                }
            }
            Due::Collect => match self.opener.outcome() {
                None if self.undecided_until.is_some_and(|until| now >= until) => {
                    self.failover.late();
                    self.go_without(Error::slow(&self.bridge.mode().name));
                }
                None => {}
                Some(Err(error)) => self.lose(error, now),
                Some(Ok(opened)) if self.undecided_until.take().is_some() => {
                    self.failover.begin();
                    self.take_up(side, opened, true, now);
                    self.bridge.decide(Ok(()));
                }
                Some(Ok(opened)) => match self.failover.opened(side.is_busy(), now) {
                    Entry::Use => {
                        self.take_up(side, opened, false, now);
                        self.bridge.notify(Notice::Back);
                    }
                    Entry::Try => self.try_out(side, opened, now),
                },
            },
        }
        self.watch.look(now);
        if !side.has_to_move() {
            // No reason to move since the last look, however long ago that was.
            self.watch.idle(now);
        }
    }

    /// Evaluates the result of a turn.
    pub fn settle(&mut self, side: &mut impl Side<D>, progress: Progress, now: Instant) {
        if progress.moved {
            self.watch.moved(now);
        } else if !side.has_to_move() {
            self.watch.idle(now);
        }
        if progress.told {
            self.failover.worked();
        }
        if !self.failover.is_used() {
            return;
        }
        match progress.result {
            Err(Fault::Lost(error)) => {
                drop(side.stand_in(now));
                self.lose(error, now);
            }
            Ok(()) | Err(Fault::Xrun) if self.watch.stands_still(now) => self.set_aside(side, now),
            Ok(()) | Err(Fault::Xrun) => {}
        }
    }

    /// `first`: the device was just opened and did not prove that it moves.
    fn take_up(&mut self, side: &mut impl Side<D>, opened: Opened<D>, first: bool, now: Instant) {
        let at_once = side.take_up(opened, now);
        self.watch = Watch::new(at_once, self.rate_hz, first, now);
    }

    fn set_aside(&mut self, side: &mut impl Side<D>, now: Instant) {
        let mut opened = side.stand_in(now);
        self.failover.stood_still(now);
        match side.reset(&mut opened, now) {
            Ok(()) | Err(Fault::Xrun) => self.try_out(side, opened, now),
            Err(Fault::Lost(error)) => self.lose(error, now),
        }
    }

    fn try_out(&mut self, side: &mut impl Side<D>, mut opened: Opened<D>, now: Instant) {
        match side.try_out(&mut opened, now) {
            Ok(()) | Err(Fault::Xrun) => self.on_trial = Some(opened),
            Err(Fault::Lost(error)) => self.lose(error, now),
        }
    }

    fn judge(&mut self, side: &mut impl Side<D>, now: Instant) {
        let Some(mut opened) = self.on_trial.take() else { return };
        match side.has_proven(&mut opened, now) {
            Ok(false) | Err(Fault::Xrun) => self.on_trial = Some(opened),
            Ok(true) => {
                self.take_up(side, opened, false, now);
                match self.failover.proven() {
                    Return::Back => self.bridge.notify(Notice::Back),
                    Return::Xrun => drop(self.bridge.xruns.fetch_add(1, Relaxed)),
                }
            }
            Err(Fault::Lost(error)) => self.lose(error, now),
        }
    }

    /// Lets the device go, to be opened again.
    fn lose(&mut self, error: Error, now: Instant) {
        self.on_trial = None;
        let untold = self.failover.lost(now);
        if self.undecided_until.is_some() {
            self.go_without(error);
        } else if untold {
            self.bridge.notify(Notice::Lost(error));
        }
    }

    /// Decides about a stream whose device is absent when the stream is opened.
    fn go_without(&mut self, error: Error) {
        self.undecided_until = None;
        if self.bridge.mode().absent == Fallback::Refuse {
            self.bridge.decide(Err(error));
        } else {
            self.bridge.notify(Notice::Lost(error));
            self.bridge.decide(Ok(()));
        }
    }
}
