//! A frontend's connection, with a driver that performs its actions, or fails.

use frontend::{Action, Actions, Handshake};
use sndif::{Protocol, XenbusState};

pub(super) struct Connection {
    handshake: Handshake,
    /// True while the driver holds a transport.
    pub(super) transport: bool,
    card: bool,
    node: XenbusState,
    /// Number of published transports.
    pub(super) published: u32,
}

impl Connection {
    pub(super) fn new(protocol: Protocol) -> Self {
        let handshake = Handshake::speaking(protocol);
        Self { handshake, transport: false, card: false, node: XenbusState::Initialising, published: 0 }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.handshake.is_connected()
    }

    /// Handles a state written by the backend. Each bit of `failures`, from the lowest on, makes one step of the driver
    /// fail.
    pub(super) fn backend_is(&mut self, state: XenbusState, failures: u8) {
        let actions = self.handshake.backend_is(state);
        self.act(actions, failures);
        assert_eq!(self.handshake.backend(), state);
    }

    pub(super) fn held(&mut self, held: bool) {
        let actions = self.handshake.held(held);
        self.act(actions, 0);
    }

    /// Removes the driver and loads it again.
    pub(super) fn detach(&mut self, protocol: Protocol) {
        let actions = self.handshake.detach();
        self.act(actions, 0);
        assert!(!self.is_connected());
        let actions = self.handshake.give_up();
        self.act(actions, 0);
        assert!(self.handshake.is_closed() && !self.transport && !self.card, "something is left behind");
        *self = Self { published: self.published, ..Self::new(protocol) };
    }

    fn act(&mut self, actions: Actions, failures: u8) {
        for action in actions {
            match action {
                Action::PublishTransport => {
                    assert!(!self.transport, "published twice");
                    self.transport = true;
                    self.published += 1;
                    let next = self.handshake.published(failures & 1 == 0);
                    self.act(next, failures >> 1);
                }
                Action::SetState(state) => self.node = state,
                Action::CreateCard | Action::ResumeCard => {
                    assert_eq!(self.card, action == Action::ResumeCard);
                    let ready = failures & 1 == 0;
                    self.card |= ready;
                    let next = self.handshake.card_ready(ready);
                    self.act(next, failures >> 1);
                }
                Action::SuspendCard => assert!(self.card),
                Action::RemoveCard => assert!(std::mem::take(&mut self.card), "removed twice"),
                Action::FreeTransport => assert!(std::mem::take(&mut self.transport), "freed twice"),
            }
        }
    }

    pub(super) fn check(&self) {
        assert_eq!(self.node, self.handshake.state(), "what the node says");
        assert!(!self.is_connected() || self.transport && self.card);
        assert!(!self.handshake.accepts_applications() || self.is_connected());
    }
}
