//! The connection of a card: sndif.h, "STATE DIAGRAMS" and "Recovery flow", as a machine without I/O.
//!
//! The driver tells what it sees (the backend's state) and what became of its actions; the machine answers with the
//! actions to perform, in order. Repeated, late and senseless states are harmless: store watches fire without cause.

use sndif::{Protocol, XenbusState};

/// How long a backend that knows Reconfiguring may take to make an offer to it.
pub const UNHEEDED_MS: u32 = 1000;

/// What the driver has to do.
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
    /// The backend is gone: send nothing any more, but keep what applications hold.
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
    /// The backend is gone while applications hold the card: waiting for the last of them to go, or for a backend in InitWait.
    Reconfiguring,
    /// Our own failure: Closed until the backend starts again.
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
    /// Applications see the card, or it is suspended.
    card: bool,
    /// An application holds the card.
    held: bool,
    /// State shown while the card is held without a backend.
    waits_in: XenbusState,
    /// `waits_in` of a connection that was lost just now.
    waits_first_in: XenbusState,
    /// Since when a card is shown as Reconfiguring.
    unheeded_since_ms: Option<u32>,
}

impl Default for Handshake {
    fn default() -> Self {
        Self::new()
    }
}

impl Handshake {
    /// A frontend of protocol version 2 whose `state` node says Initialising.
    #[must_use]
    pub const fn new() -> Self {
        Self::speaking(Protocol::V2)
    }

    /// The same with another protocol. One of version 0 publishes its transport without waiting for an offer: a backend of
    /// 2015 makes none.
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

    /// The same for a driver that never shows Reconfiguring: a backend that does not know that state passes such a frontend
    /// over. To be used where nobody else could take Initialising for a card without applications.
    #[must_use]
    pub const fn waiting_as_initialising(mut self) -> Self {
        self.waits_first_in = XenbusState::Initialising;
        self.waits_in = self.waits_first_in;
        self
    }

    /// The state that our `state` node says once all actions given so far are performed.
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

    /// The backend's state as last seen.
    #[must_use]
    pub const fn backend(&self) -> XenbusState {
        self.backend
    }

    /// Whether requests can be sent.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected)
    }

    /// Whether a new application may open the card (not in Reconfiguring, sndif.h).
    #[must_use]
    pub const fn accepts_applications(&self) -> bool {
        self.card && matches!(self.phase, Phase::Connected)
    }

    /// The backend's `state` node says this; [`XenbusState::Unknown`] when it is gone.
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
            // InitWait again says nothing new while our transport stands unused.
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

    /// The transport was published, or could not be.
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

    /// The card was created or resumed, or could not be.
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

    /// An application opened the card, or the last one closed it.
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
    /// [`UNHEEDED_MS`] without an offer is shown as Initialising, since the backend may be one that knows no other state in which
    /// to make an offer. To be called after everything else, and again when [`look_in_ms`](Self::look_in_ms) is over.
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

    /// How long until [`look`](Self::look) has to be called whatever happens; `None` when it has not.
    #[must_use]
    pub fn look_in_ms(&self, now_ms: u32) -> Option<u32> {
        let since_ms = self.unheeded_since_ms?;
        Some(UNHEEDED_MS.saturating_sub(now_ms.wrapping_sub(since_ms)))
    }

    /// Whether our state is one that not every backend knows.
    fn is_unheeded(&self) -> bool {
        self.phase == Phase::Reconfiguring && self.waits_in == XenbusState::Reconfiguring
    }

    /// The driver goes away. When the backend does not follow within a second, [`give_up`](Self::give_up).
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
            actions.then(Action::SetState(XenbusState::Closed))
        }
    }

    /// The backend did not answer [`detach`](Self::detach) in time: frees the transport all the same.
    #[must_use = "the actions have to be performed"]
    pub fn give_up(&mut self) -> Actions {
        if self.phase == Phase::Closing { self.finish_closing() } else { Actions::default() }
    }

    /// Whether [`detach`](Self::detach) is complete.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether the backend, as last seen, may be given a transport.
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

    /// sndif.h, recovery flow: remove the card if that is possible.
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
