//! Test of the state machine with any history of the frontend, the toolstack and failures.

use backend::{Action, Handshake};
use proptest::collection::vec;
use proptest::prelude::*;
use sndif::{Protocol, XenbusState as S};

fn state() -> impl Strategy<Value = S> {
    // The weights favour a frontend that wants to connect, or most histories would end at InitWait.
    prop_oneof![2 => Just(S::Initialised), 2 => Just(S::Connected), 4 => (0..9_u8).prop_map(S::from_number)]
}

/// State of the daemon: a connection or none, and the states that it wrote.
#[derive(Default)]
struct Daemon {
    mapped: bool,
    shown: Option<S>,
}

impl Daemon {
    /// Performs the actions; `success` is the result of connecting.
    fn act(&mut self, handshake: &mut Handshake, actions: Vec<Action>, success: bool, now_ns: u64) {
        let mut queue = std::collections::VecDeque::from(actions);
        let mut done = 0;
        while let Some(action) = queue.pop_front() {
            done += 1;
            assert!(done < 10, "actions without end");
            match action {
                Action::Release => self.mapped = false,
                Action::SetState(state) => {
                    assert!(state != S::Connected || self.mapped, "connected without a connection");
                    assert!(state == S::Connected || !self.mapped, "{state} over a connection that still stands");
                    self.shown = Some(state);
                }
                Action::Resume => {
                    assert!(self.mapped, "there is nothing to resume");
                    queue.extend(handshake.connected(success, now_ns));
                }
                Action::Connect => {
                    assert!(!self.mapped, "the last connection was not released");
                    assert_eq!(self.shown, Some(S::InitWait), "no offer was made");
                    self.mapped = success;
                    queue.extend(handshake.connected(success, now_ns));
                }
            }
        }
        assert_eq!(self.mapped, handshake.state() == S::Connected);
        assert_eq!(self.shown, Some(handshake.state()), "what is shown is where we are");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 2000 }))]

    #[test]
    fn xsa_465_any_history_keeps_release_before_the_next_connection(
        protocol in prop_oneof![Just(Protocol::V0), Just(Protocol::V2)],
        first in state(),
        steps in vec((state(), proptest::bool::weighted(0.9), any::<bool>(), any::<bool>(), 0..8_u8, 0..1_500_000_000_u64), 0..40),
    ) {
        let mut now_ns = 7;
        let (mut handshake, actions) = Handshake::new(protocol, first, now_ns);
        let mut daemon = Daemon::default();
        daemon.act(&mut handshake, actions, true, now_ns);
        for (frontend, online, moved, success, breaks, pass_ns) in steps {
            now_ns += pass_ns;
            let actions = if breaks == 0 && daemon.mapped {
                handshake.broken(now_ns)
            } else {
                handshake.update(frontend, online, moved, now_ns)
            };
            daemon.act(&mut handshake, actions, success, now_ns);
            if !online && breaks != 0 {
                prop_assert_eq!(handshake.state(), S::Closed);
            }
        }
        // After any history, a frontend that starts again and waits as told is connected in the end.
        for frontend in [S::Initialising, S::Initialising, S::Initialised, S::Connected] {
            let actions = handshake.update(frontend, true, false, now_ns);
            daemon.act(&mut handshake, actions, true, now_ns);
            now_ns = handshake.next_wake_ns().unwrap_or(now_ns).max(now_ns);
        }
        prop_assert_eq!(handshake.state(), S::Connected);
        prop_assert_eq!(handshake.next_wake_ns(), None);
    }
}
