//! The connection of a card: sndif.h, "STATE DIAGRAMS" and "Recovery flow", as a machine without I/O.
//!
//! ```text
//!               InitWait                published              Connected
//!   Waiting ───────────────▶ Publishing ─────────▶ Published ─────────────▶ Creating
//!    ▲   ▲                       ▲                                             │ card_ready
//!    │   │                       │                  InitWait                   ▼
//!    │   │                       ├──────────────────────────────────────── Connected
//!    │   │                       │ InitWait                                    │
//!    │   │              Reconfiguring ◀── backend gone, the card is held ──────┤
//!    │   └─ nobody holds the card ──┘                                          │
//!    └────────────────────────────────── backend gone, nobody holds the card ──┘
//!
//!   Publishing, Creating: the driver's action failed ──▶ Failed
//!   Failed: the backend starts again, or is gone ──────▶ Waiting
//!   any: detach ──▶ Closing, if there is a transport; the backend leaves, or give_up ──▶ Closed
//! ```
//!
//! The words on the arrows are states of the backend, or functions of [`Handshake`]. Creating ends as Connected does, and
//! so does Published, to which InitWait is no news. A frontend of version 0 leaves Waiting also for a backend in
//! Initialising or Initialised.
//!
//! The driver reports what it sees (the backend's state) and the results of its actions; the machine returns the
//! actions to perform, in order. Repeated, late and invalid states are harmless: store watches fire without cause.

use sndif::{Protocol, XenbusState};

/// Time that a backend that knows Reconfiguring has to make an offer to it.
pub const UNHEEDED_MS: u32 = 1000;

/// An action for the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read the configuration, allocate and grant pages, allocate event channels, write the transport nodes of all
    /// streams; then report with [`Handshake::published`].
    PublishTransport,
    /// Write the card's `state` node.
    SetState(XenbusState),
    /// Make the card visible to applications, then report with [`Handshake::card_ready`].
    CreateCard,
    /// Bring the streams that applications still hold back onto the new connection, then report with
    /// [`Handshake::card_ready`].
    ResumeCard,
    /// The backend is gone: send nothing more, but keep the streams that applications hold.
    SuspendCard,
    /// Take the card away from applications.
    RemoveCard,
    /// End access to the granted pages, close the event channels.
    FreeTransport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Initialising: waiting for a backend in InitWait.
    Waiting,
    /// [`Action::PublishTransport`] was given and not reported yet.
    Publishing,
    /// Initialised: waiting for the backend to be Connected.
    Published,
    /// [`Action::CreateCard`] or [`Action::ResumeCard`] was given and not reported yet.
    Creating,
    Connected,
    /// The backend is gone while applications hold the card: waiting for the last of them to close it, or for a backend
    /// in InitWait.
    Reconfiguring,
    /// An action of the driver failed: Closed until the backend starts again.
    Failed,
    Closing,
    Closed,
}

/// Up to five [`Action`]s, to be performed in order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Actions {
    list: [Option<Action>; 5],
    count: usize,
}

impl Actions {
    fn then(mut self, action: Action) -> Self {
        if let Some(place) = self.list.get_mut(self.count) {
            *place = Some(action);
            self.count = self.count.saturating_add(1);
        }
        self
    }

    fn then_if(self, condition: bool, action: Action) -> Self {
        if condition { self.then(action) } else { self }
    }
}

impl IntoIterator for Actions {
    type Item = Action;
    type IntoIter = core::iter::Flatten<core::array::IntoIter<Option<Action>, 5>>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter().flatten()
    }
}

/// The frontend half of a card's connection.
#[derive(Debug)]
pub struct Handshake {
    protocol: Protocol,
    phase: Phase,
    /// The last state seen.
    backend: XenbusState,
    /// True while applications see the card, also when it is suspended.
    card: bool,
    /// True while an application holds the card.
    held: bool,
    /// State shown while the card is held without a backend.
    waits_in: XenbusState,
    /// Value of `waits_in` for a connection that has just been lost.
    waits_first_in: XenbusState,
    /// Time since which a card is shown as Reconfiguring.
    unheeded_since_ms: Option<u32>,
}

impl Default for Handshake {
    fn default() -> Self {
        Self::new()
    }
}

impl Handshake {
    /// Makes a frontend of protocol version 2 whose `state` node says Initialising.
    #[must_use]
    pub const fn new() -> Self {
        Self::speaking(Protocol::V2)
    }

    /// Makes a frontend of another protocol. A frontend of version 0 publishes its transport without waiting for an
    /// offer, since a backend of 2015 makes none.
    #[must_use]
    pub const fn speaking(protocol: Protocol) -> Self {
        Self {
            protocol,
            phase: Phase::Waiting,
            backend: XenbusState::Unknown,
            card: false,
            held: false,
            waits_in: XenbusState::Reconfiguring,
            waits_first_in: XenbusState::Reconfiguring,
            unheeded_since_ms: None,
        }
    }

    /// Makes the frontend of a driver that never shows Reconfiguring, since a backend that does not know that state
    /// ignores such a frontend. For use where nobody else could take Initialising for a card without applications.
    #[must_use]
    pub const fn waiting_as_initialising(mut self) -> Self {
        self.waits_first_in = XenbusState::Initialising;
        self.waits_in = self.waits_first_in;
        self
    }

    /// Returns the value of our `state` node once all actions given so far are performed; Closed, too, where nobody was
    /// there any more to whom [`detach`](Self::detach) would have shown it.
    #[must_use]
    pub const fn state(&self) -> XenbusState {
        match self.phase {
            Phase::Publishing if self.card => self.waits_in,
            Phase::Waiting | Phase::Publishing => XenbusState::Initialising,
            Phase::Published | Phase::Creating => XenbusState::Initialised,
            Phase::Connected => XenbusState::Connected,
            Phase::Reconfiguring => self.waits_in,
            Phase::Closing => XenbusState::Closing,
            Phase::Failed | Phase::Closed => XenbusState::Closed,
        }
    }

    /// Returns the backend's state as last seen.
    #[must_use]
    pub const fn backend(&self) -> XenbusState {
        self.backend
    }

    /// Returns true if requests can be sent.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected)
    }

    /// Returns true if a new application may open the card (not in Reconfiguring, sndif.h).
    #[must_use]
    pub const fn accepts_applications(&self) -> bool {
        self.card && matches!(self.phase, Phase::Connected)
    }

    /// Takes the value of the backend's `state` node; [`XenbusState::Unknown`] when the backend is gone.
    #[must_use = "the actions have to be performed"]
    pub fn backend_is(&mut self, state: XenbusState) -> Actions {
        use XenbusState as S;
        self.backend = state;
        match (self.phase, state) {
            (Phase::Closed, _) => Actions::default(),
            (Phase::Closing, S::Connected | S::Initialised | S::Reconfiguring | S::Reconfigured) => Actions::default(),
            (Phase::Closing, _) => self.finish_closing(),
            (Phase::Waiting | Phase::Reconfiguring, _) if self.may_publish() => self.publish(Actions::default()),
            (Phase::Waiting | Phase::Reconfiguring | Phase::Publishing, _) => Actions::default(),
            (Phase::Published, S::Connected) => {
                self.phase = Phase::Creating;
                Actions::default().then(if self.card { Action::ResumeCard } else { Action::CreateCard })
            }
            // InitWait again is no news while our transport is unused.
            (Phase::Published, _) if self.may_publish() => Actions::default(),
            (Phase::Creating | Phase::Connected, S::InitWait) => {
                let lost = self.lose();
                self.publish(lost)
            }
            (
                Phase::Published | Phase::Creating | Phase::Connected,
                S::Unknown | S::Initialising | S::Closing | S::Closed,
            ) => self.lose(),
            (Phase::Failed, S::Initialising | S::Unknown | S::Closed) => {
                self.phase = Phase::Waiting;
                Actions::default().then(Action::SetState(S::Initialising))
            }
            (Phase::Failed | Phase::Published | Phase::Creating | Phase::Connected, _) => Actions::default(),
        }
    }

    /// Takes the result of [`Action::PublishTransport`].
    #[must_use = "the actions have to be performed"]
    pub fn published(&mut self, success: bool) -> Actions {
        if self.phase != Phase::Publishing {
            return Actions::default();
        }
        if !success {
            return self.fail();
        }
        self.phase = Phase::Published;
        let actions = Actions::default().then(Action::SetState(XenbusState::Initialised));
        // The backend may have gone while we were busy.
        match self.backend {
            XenbusState::Connected => actions,
            _ if self.may_publish() => actions,
            _ => Self::append(actions, self.lose()),
        }
    }

    /// Takes the result of [`Action::CreateCard`] or [`Action::ResumeCard`].
    #[must_use = "the actions have to be performed"]
    pub fn card_ready(&mut self, success: bool) -> Actions {
        if self.phase != Phase::Creating {
            return Actions::default();
        }
        if !success {
            return self.fail();
        }
        self.phase = Phase::Connected;
        self.card = true;
        self.waits_in = self.waits_first_in;
        Actions::default().then(Action::SetState(XenbusState::Connected))
    }

    /// Notes that an application opened the card, or that the last one closed it.
    #[must_use = "the actions have to be performed"]
    pub fn held(&mut self, held: bool) -> Actions {
        self.held = held;
        if held || self.phase != Phase::Reconfiguring {
            return Actions::default();
        }
        self.card = false;
        self.phase = Phase::Waiting;
        Actions::default().then(Action::RemoveCard).then(Action::SetState(XenbusState::Initialising))
    }

    /// Takes in the time, a clock in milliseconds that may wrap: a card that has been shown as Reconfiguring for
    /// [`UNHEEDED_MS`] without an offer is shown as Initialising, since the backend may know no other state in which to
    /// make an offer. The driver calls this function after every other one, and again after the time of
    /// [`look_in_ms`](Self::look_in_ms).
    #[must_use = "the actions have to be performed"]
    pub fn look(&mut self, now_ms: u32) -> Actions {
        if !self.is_unheeded() {
            self.unheeded_since_ms = None;
            return Actions::default();
        }
        self.unheeded_since_ms.get_or_insert(now_ms);
        if self.look_in_ms(now_ms) != Some(0) {
            return Actions::default();
        }
        self.waits_in = XenbusState::Initialising;
        self.unheeded_since_ms = None;
        Actions::default().then(Action::SetState(XenbusState::Initialising))
    }

    /// Returns the time until [`look`](Self::look) has to be called in any case; `None` when it need not be.
    #[must_use]
    pub fn look_in_ms(&self, now_ms: u32) -> Option<u32> {
        let since_ms = self.unheeded_since_ms?;
        Some(UNHEEDED_MS.saturating_sub(now_ms.wrapping_sub(since_ms)))
    }

    /// Returns true if our state is one that not every backend knows.
    fn is_unheeded(&self) -> bool {
        self.phase == Phase::Reconfiguring && self.waits_in == XenbusState::Reconfiguring
    }

    /// Takes the driver away. When the backend does not follow within a second, [`give_up`](Self::give_up) is next. To a
    /// backend that is gone, no state is shown.
    #[must_use = "the actions have to be performed"]
    pub fn detach(&mut self) -> Actions {
        let transport = match self.phase {
            Phase::Closing | Phase::Closed => return Actions::default(),
            Phase::Publishing | Phase::Published | Phase::Creating | Phase::Connected => true,
            Phase::Waiting | Phase::Reconfiguring | Phase::Failed => false,
        };
        let actions = Actions::default().then_if(core::mem::take(&mut self.card), Action::RemoveCard);
        if transport {
            self.phase = Phase::Closing;
            actions.then(Action::SetState(XenbusState::Closing))
        } else {
            self.phase = Phase::Closed;
            // No backend that is gone reads the state. And the node may be another device's by now: of a card that was
            // taken away and is attached again.
            actions.then_if(!self.is_backend_gone(), Action::SetState(XenbusState::Closed))
        }
    }

    /// Frees the transport of a driver whose [`detach`](Self::detach) the backend did not answer in time.
    #[must_use = "the actions have to be performed"]
    pub fn give_up(&mut self) -> Actions {
        if self.phase == Phase::Closing { self.finish_closing() } else { Actions::default() }
    }

    /// Returns true if [`detach`](Self::detach) is complete.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Returns true if the backend, as last seen, is gone or about to go.
    const fn is_backend_gone(&self) -> bool {
        matches!(self.backend, XenbusState::Unknown | XenbusState::Closing | XenbusState::Closed)
    }

    /// Returns true if the backend, as last seen, may be given a transport.
    const fn may_publish(&self) -> bool {
        use XenbusState as S;
        match self.protocol {
            Protocol::V2 => matches!(self.backend, S::InitWait),
            Protocol::V0 => matches!(self.backend, S::Initialising | S::InitWait | S::Initialised),
        }
    }

    fn publish(&mut self, actions: Actions) -> Actions {
        self.phase = Phase::Publishing;
        actions.then(Action::PublishTransport)
    }

    /// Follows sndif.h's recovery flow: removes the card if that is possible.
    fn lose(&mut self) -> Actions {
        let held = self.card && self.held;
        let removed = self.card && !self.held;
        self.card = held;
        self.phase = if held { Phase::Reconfiguring } else { Phase::Waiting };
        Actions::default()
            .then_if(held, Action::SuspendCard)
            .then_if(removed, Action::RemoveCard)
            .then(Action::FreeTransport)
            .then(Action::SetState(self.state()))
    }

    fn fail(&mut self) -> Actions {
        self.phase = Phase::Failed;
        Actions::default()
            .then_if(core::mem::take(&mut self.card), Action::RemoveCard)
            .then(Action::FreeTransport)
            .then(Action::SetState(XenbusState::Closed))
    }

    fn finish_closing(&mut self) -> Actions {
        self.phase = Phase::Closed;
        Actions::default().then(Action::FreeTransport).then(Action::SetState(XenbusState::Closed))
    }

    fn append(first: Actions, second: Actions) -> Actions {
        second.into_iter().fold(first, Actions::then)
    }
}

#[cfg(test)]
mod tests;
