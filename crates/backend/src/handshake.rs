//! The backend's side of a device's XenBus state machine (sndif.h, "STATE DIAGRAMS").
//!
//! ```text
//!   a new device
//!        │            Initialised, and Action::Connect succeeds
//!        ▼    ┌────────────────────────────────────────────────────────┐
//!    InitWait─┘                                                        ▼
//!      ▲  ▲                                                        Connected
//!      │  └──── the frontend stepped back, or has a new transport ───┘  │
//!      │                                                                │
//!      │ the frontend stepped back, or did                              │
//!      │ not in time; the hold-off is over                              │
//!      │                                                                │
//!    Closed ◀── broken or disconnected: Closing first; online = 0; ─────┘
//!               in the hold-off also where InitWait would be next
//! ```
//!
//! InitWait becomes Closed, too, where Action::Connect fails or the toolstack writes online = 0. A new device begins in
//! Closed if its frontend is still connected to an earlier daemon.
//!
//! Inputs are the present values in the store; a watch may have missed states in between, so nothing here relies on
//! having seen every step.

use sndif::{Protocol, XenbusState};

use crate::hold_off::{self, HoldOff};

/// Time that a frontend of an earlier daemon's connection has to notice the end of that connection.
const STALE_FRONTEND_NS: u64 = 1_000_000_000;

/// An action for the daemon; actions are done in the order given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Stop all streams of the device, unmap, unbind.
    Release,
    /// Write the backend's state.
    SetState(XenbusState),
    /// Read the transport nodes, map, bind; then call [`Handshake::connected`].
    Connect,
    /// Like [`Connect`](Self::Connect), for a guest of protocol version 0 that was resumed: its streams stay as they
    /// are, on the new transport.
    Resume,
}

/// State machine of one device.
#[derive(Debug)]
pub struct Handshake {
    protocol: Protocol,
    state: XenbusState,
    /// End of the wait for a frontend of an earlier connection to step back.
    stale_until_ns: Option<u64>,
    /// Moment before which no connection is offered.
    hold_off_until_ns: Option<u64>,
    hold_off: HoldOff,
    /// True while the toolstack wants the device, as far as the store has shown.
    online: bool,
}

impl Handshake {
    /// Makes the state machine of a device that was just found, with the frontend's state: an earlier daemon may have
    /// left it connected. Then the frontend is told that the connection ended before a new one is offered. (A frontend
    /// in Reconfiguring knows, and waits for the offer.)
    ///
    /// A frontend of protocol version 0 does not wait for an offer, so one in Initialised is not older than this
    /// daemon. One that is still Connected after it was told cannot step back, and is taken over as it is.
    #[must_use]
    pub fn new(protocol: Protocol, frontend: XenbusState, now_ns: u64) -> (Self, Vec<Action>) {
        use XenbusState as S;
        let stale = frontend == S::Connected || frontend == S::Initialised && protocol == Protocol::V2;
        let state = if stale { S::Closed } else { S::InitWait };
        let stale_until_ns = stale.then(|| now_ns.saturating_add(STALE_FRONTEND_NS));
        let (hold_off, hold_off_until_ns) = (HoldOff::default(), None);
        let handshake = Self { protocol, state, stale_until_ns, hold_off_until_ns, hold_off, online: true };
        (handshake, vec![Action::SetState(state)])
    }

    /// Returns the backend's state.
    #[must_use]
    pub fn state(&self) -> XenbusState {
        self.state
    }

    /// Returns the time at which [`update`](Self::update) has to be called even if nothing changed.
    #[must_use]
    pub fn next_wake_ns(&self) -> Option<u64> {
        self.stale_until_ns.into_iter().chain(self.hold_off_until_ns).min()
    }

    /// Reacts to the frontend's state, to the toolstack's wish for the device (`online`), and to transport nodes that
    /// differ from those of the connection (`moved`).
    pub fn update(&mut self, frontend: XenbusState, online: bool, moved: bool, now_ns: u64) -> Vec<Action> {
        use XenbusState as S;
        let mut actions = Vec::new();
        self.hold_off_until_ns = self.hold_off_until_ns.filter(|&until| now_ns < until);
        if !online {
            // The toolstack waits for Closed before it removes the nodes. A frontend that is still connected sees
            // Closing only through its own directory, so there is no wait for it.
            self.stale_until_ns = None;
            if self.online {
                // The toolstack has written Closing over our state, so even a closed device writes Closed again.
                self.state = if self.state == S::Closed { S::Closing } else { self.state };
                self.online = false;
            }
            self.leave(S::Closed, &mut actions);
            return actions;
        }
        self.online = true;
        match frontend {
            // The frontend came back without our having seen its other states.
            S::Initialised | S::Connected if self.state == S::Connected && moved => match self.protocol {
                Protocol::V2 if self.hold_off_until_ns.is_none() => self.leave(S::InitWait, &mut actions),
                Protocol::V2 => {
                    self.stale_until_ns = self.hold_off_until_ns;
                    self.leave(S::Closed, &mut actions);
                }
                // The frontend was resumed, and takes the new ring for connected already.
                Protocol::V0 => {
                    self.state = S::InitWait;
                    actions.push(Action::Resume);
                }
            },
            S::Initialised if self.state == S::InitWait => actions.push(Action::Connect),
            S::Connected if self.state == S::InitWait && self.protocol == Protocol::V0 => actions.push(Action::Connect),
            S::Initialised | S::Connected if self.state != S::Connected => self.offer_if_overdue(now_ns, &mut actions),
            S::Initialised | S::Connected => {}
            // In Reconfiguring, applications still hold the device, and the frontend waits for our offer. In Closing,
            // Linux waits for InitWait when its driver is removed.
            S::Unknown
            | S::Initialising
            | S::InitWait
            | S::Reconfiguring
            | S::Reconfigured
            | S::Closing
            | S::Closed => {
                self.stale_until_ns = None;
                if self.hold_off_until_ns.is_none() {
                    self.leave(S::InitWait, &mut actions);
                } else if self.state == S::Connected {
                    self.leave(S::Closed, &mut actions);
                }
            }
        }
        actions
    }

    /// Offers a connection to a frontend that does not step back, because it never noticed the end of the last one.
    fn offer_if_overdue(&mut self, now_ns: u64, actions: &mut Vec<Action>) {
        if self.stale_until_ns.is_some_and(|until| now_ns >= until) {
            self.stale_until_ns = None;
            self.leave(XenbusState::InitWait, actions);
        }
    }

    /// Takes the result of [`Action::Connect`].
    pub fn connected(&mut self, success: bool, now_ns: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if success {
            self.state = XenbusState::Connected;
            self.hold_off_until_ns = self.hold_off.connection(now_ns).max(self.hold_off_until_ns);
            actions.push(Action::SetState(self.state));
        } else {
            self.broken_into(now_ns, &mut actions);
        }
        actions
    }

    /// Closes the device, because the frontend broke the protocol or the connection cannot go on. The frontend may
    /// connect again once it has stepped back.
    pub fn broken(&mut self, now_ns: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        self.broken_into(now_ns, &mut actions);
        actions
    }

    /// Ends the connection for the host: like [`broken`](Self::broken), but it is no fault of the frontend's, whose
    /// wait for the next connection does not grow.
    pub fn disconnected(&mut self, now_ns: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        self.close_until(now_ns.saturating_add(hold_off::MIN_NS), &mut actions);
        actions
    }

    fn broken_into(&mut self, now_ns: u64, actions: &mut Vec<Action>) {
        let until_ns = self.hold_off.fault(now_ns);
        self.close_until(until_ns, actions);
    }

    fn close_until(&mut self, until_ns: u64, actions: &mut Vec<Action>) {
        self.hold_off_until_ns = Some(until_ns).max(self.hold_off_until_ns);
        actions.push(Action::Release);
        actions.push(Action::SetState(XenbusState::Closing));
        self.state = XenbusState::Closed;
        actions.push(Action::SetState(self.state));
    }

    fn leave(&mut self, state: XenbusState, actions: &mut Vec<Action>) {
        if self.state == XenbusState::Connected {
            actions.push(Action::Release);
        }
        if self.state != state {
            self.state = state;
            actions.push(Action::SetState(state));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Action::{Connect, Release, Resume, SetState};
    use super::*;
    use Protocol::{V0, V2};
    use XenbusState as S;

    fn connected() -> Handshake {
        let (mut handshake, actions) = Handshake::new(V2, S::Initialising, 0);
        assert_eq!(actions, [SetState(S::InitWait)]);
        assert_eq!(handshake.update(S::Initialised, true, false, 0), [Connect]);
        assert_eq!(handshake.connected(true, 0), [SetState(S::Connected)]);
        assert_eq!(handshake.update(S::Connected, true, false, 0), []);
        handshake
    }

    #[test]
    fn a_frontend_connects() {
        connected();
    }

    #[test]
    fn driver_removal_finds_the_backend_in_init_wait() {
        let mut handshake = connected();
        assert_eq!(handshake.update(S::Closing, true, false, 0), [Release, SetState(S::InitWait)]);
        assert_eq!(handshake.update(S::Closed, true, false, 0), []);
        assert_eq!(handshake.update(S::Initialised, true, false, 0), [Connect]);
    }

    #[test]
    fn unplugging_ends_in_closed() {
        let mut handshake = connected();
        assert_eq!(handshake.update(S::Connected, false, false, 0), [Release, SetState(S::Closed)]);
        assert_eq!(handshake.update(S::Closed, false, false, 0), []);
    }

    #[test]
    fn unplugging_a_closed_device_is_confirmed_too() {
        let mut handshake = connected();
        handshake.broken(0);
        assert_eq!(handshake.update(S::Connected, false, false, 1), [SetState(S::Closed)]);
        assert_eq!(handshake.update(S::Connected, false, false, 2), []);
    }

    #[test]
    fn a_frontend_left_over_from_an_earlier_daemon_is_sent_back_first() {
        let (mut handshake, actions) = Handshake::new(V2, S::Connected, 0);
        assert_eq!(actions, [SetState(S::Closed)]);
        assert_eq!(handshake.update(S::Connected, true, false, 10), []);
        assert_eq!(handshake.update(S::Initialising, true, false, 20), [SetState(S::InitWait)]);
        assert_eq!(handshake.update(S::Initialised, true, false, 30), [Connect]);
    }

    #[test]
    fn a_left_over_frontend_that_never_steps_back_gets_an_offer_in_time() {
        let (mut handshake, _) = Handshake::new(V2, S::Connected, 0);
        let at = handshake.next_wake_ns().unwrap();
        assert_eq!(handshake.update(S::Connected, true, false, at), [SetState(S::InitWait)]);
    }

    #[test]
    fn a_frontend_that_waits_for_a_new_backend_is_offered_a_connection_at_once() {
        let (mut handshake, actions) = Handshake::new(V2, S::Reconfiguring, 0);
        assert_eq!((actions, handshake.next_wake_ns()), (vec![SetState(S::InitWait)], None));
        assert_eq!(handshake.update(S::Reconfiguring, true, false, 0), []);
        assert_eq!(handshake.update(S::Initialised, true, false, 0), [Connect]);
    }

    #[test]
    fn a_broken_connection_is_taken_up_again_only_after_the_frontend_stepped_back() {
        let mut handshake = connected();
        assert_eq!(handshake.broken(0), [Release, SetState(S::Closing), SetState(S::Closed)]);
        assert_eq!(handshake.update(S::Connected, true, false, 1 << 40), []);
        assert_eq!(handshake.update(S::Initialised, true, false, 1 << 40), []);
        assert_eq!(handshake.update(S::Initialising, true, false, 1 << 40), [SetState(S::InitWait)]);
    }

    #[test]
    fn a_host_that_disconnects_again_and_again_has_the_guest_wait_no_longer_each_time() {
        let (mut handshake, _) = Handshake::new(V2, S::Initialising, 0);
        for round in 1..=10 {
            let now_ns = round * 10_000_000_000;
            assert_eq!(handshake.update(S::Initialised, true, false, now_ns), [Connect]);
            handshake.connected(true, now_ns);
            assert_eq!(handshake.disconnected(now_ns), [Release, SetState(S::Closing), SetState(S::Closed)]);
            assert_eq!(handshake.update(S::Initialising, true, false, now_ns), []);
            let at_ns = handshake.next_wake_ns().unwrap();
            assert_eq!(at_ns - now_ns, 200_000_000, "{round}");
            assert_eq!(handshake.update(S::Initialising, true, false, at_ns), [SetState(S::InitWait)]);
        }
    }

    #[test]
    fn after_a_failure_the_next_offer_is_held_off_and_announced() {
        let (mut handshake, _) = Handshake::new(V2, S::Initialised, 0);
        assert_eq!(handshake.update(S::Initialising, true, false, 0), [SetState(S::InitWait)]);
        handshake.broken(5);
        assert_eq!(handshake.update(S::Initialising, true, false, 6), []);
        let at = handshake.next_wake_ns().unwrap();
        assert_eq!(handshake.update(S::Initialising, true, false, at), [SetState(S::InitWait)]);
        assert_eq!(handshake.next_wake_ns(), None);
    }

    #[test]
    fn a_card_that_connects_again_and_again_is_held_off_and_holds_nothing_meanwhile() {
        let (mut handshake, _) = Handshake::new(V2, S::Initialising, 0);
        let mut held_off = 0;
        for _ in 0..100 {
            assert_eq!(handshake.update(S::Initialised, true, false, 0), [Connect]);
            handshake.connected(true, 0);
            let actions = handshake.update(S::Closing, true, false, 0);
            assert_eq!(actions[0], Release);
            if handshake.state() == S::Closed {
                held_off += 1;
                assert_eq!(handshake.update(S::Initialised, true, false, 0), []);
                let at = handshake.next_wake_ns().unwrap();
                assert_eq!(handshake.update(S::Closed, true, false, at), [SetState(S::InitWait)]);
            }
        }
        assert!(held_off > 80, "{held_off}");
    }

    #[test]
    fn a_frontend_slow_to_notice_the_connection_does_not_lose_it() {
        let mut handshake = connected();
        assert_eq!(handshake.update(S::Initialised, true, false, 0), []);
    }

    #[test]
    fn a_frontend_that_restarted_unseen_is_taken_through_init_wait() {
        let mut handshake = connected();
        assert_eq!(handshake.update(S::Initialised, true, true, 0), [Release, SetState(S::InitWait)]);
    }

    #[test]
    fn a_frontend_of_2015_is_connected_as_soon_as_it_published_and_again_after_it_was_resumed() {
        let (mut handshake, actions) = Handshake::new(V0, S::Initialised, 0);
        assert_eq!(actions, [SetState(S::InitWait)]);
        assert_eq!(handshake.update(S::Initialised, true, false, 0), [Connect]);
        assert_eq!(handshake.connected(true, 0), [SetState(S::Connected)]);
        assert_eq!(handshake.update(S::Connected, true, false, 1), []);
        assert_eq!(handshake.update(S::Initialised, true, true, 2), [Resume]);
        assert_eq!(handshake.connected(true, 2), [SetState(S::Connected)]);
        // The frontend believes itself connected, and stays in Initialised.
        assert_eq!(handshake.update(S::Initialised, true, false, 3), []);
    }

    #[test]
    fn a_frontend_of_2015_that_outlived_its_daemon_is_taken_over() {
        let (mut handshake, actions) = Handshake::new(V0, S::Connected, 0);
        assert_eq!(actions, [SetState(S::Closed)]);
        assert_eq!(handshake.update(S::Connected, true, false, 1), []);
        let at = handshake.next_wake_ns().unwrap();
        assert_eq!(handshake.update(S::Connected, true, false, at), [SetState(S::InitWait)]);
        assert_eq!(handshake.update(S::Connected, true, false, at), [Connect]);
    }

    #[test]
    fn xsa_465_every_state_and_event_keeps_release_before_a_new_connection() {
        // The test is exhaustive over short histories: at every Connect, the last connection was released.
        let states = [
            S::Unknown,
            S::Initialising,
            S::InitWait,
            S::Initialised,
            S::Connected,
            S::Closing,
            S::Closed,
            S::Reconfiguring,
        ];
        for (protocol, first) in [V0, V2].into_iter().flat_map(|protocol| states.map(|first| (protocol, first))) {
            // Miri takes a hundred times as long.
            for history in (0..states.len().pow(4) * 3).step_by(if cfg!(miri) { 997 } else { 1 }) {
                let (mut handshake, _) = Handshake::new(protocol, first, 0);
                let mut mapped = false;
                let mut rest = history;
                let kind = rest % 3;
                rest /= 3;
                for step in 0..4 {
                    let mut queue = handshake.update(
                        states[rest % states.len()],
                        !(kind == 2 && step == 2),
                        rest % 2 == 0,
                        step * 600_000_000,
                    );
                    rest /= states.len();
                    while !queue.is_empty() {
                        match queue.remove(0) {
                            Release => mapped = false,
                            Connect => {
                                assert!(!mapped);
                                mapped = kind != 1;
                                queue.extend(handshake.connected(mapped, step * 600_000_000));
                            }
                            Resume => {
                                assert!(mapped && protocol == V0);
                                queue.extend(handshake.connected(kind != 1, step * 600_000_000));
                            }
                            SetState(_) => {}
                        }
                    }
                    assert_eq!(mapped, handshake.state() == S::Connected);
                }
            }
        }
    }
}
