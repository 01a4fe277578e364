//! Tests of the diagram's arrows, and of any order of inputs.

use std::vec::Vec;

use proptest::prelude::*;

use super::Action::*;
use super::XenbusState as S;
use super::*;

fn list(actions: Actions) -> Vec<Action> {
    actions.into_iter().collect()
}

fn connected(held: bool) -> Handshake {
    let mut handshake = Handshake::new();
    let _ = handshake.backend_is(S::InitWait);
    let _ = handshake.published(true);
    let _ = handshake.backend_is(S::Connected);
    let _ = handshake.card_ready(true);
    let _ = handshake.held(held);
    assert!(handshake.is_connected());
    handshake
}

#[test]
fn the_way_to_connected_is_that_of_the_diagram() {
    let mut handshake = Handshake::new();
    assert_eq!(list(handshake.backend_is(S::Initialising)), []);
    assert_eq!(list(handshake.backend_is(S::InitWait)), [PublishTransport]);
    assert_eq!(list(handshake.published(true)), [SetState(S::Initialised)]);
    assert_eq!(list(handshake.backend_is(S::InitWait)), []);
    assert_eq!(list(handshake.backend_is(S::Connected)), [CreateCard]);
    assert_eq!(list(handshake.card_ready(true)), [SetState(S::Connected)]);
    assert_eq!(list(handshake.backend_is(S::Connected)), []);
    assert!(handshake.accepts_applications());
}

#[test]
fn with_protocol_0_nobody_waits_for_an_offer() {
    for state in [S::Initialising, S::InitWait, S::Initialised] {
        let mut handshake = Handshake::speaking(Protocol::V0);
        assert_eq!(list(handshake.backend_is(S::Connected)), [], "that is the end of an earlier connection");
        assert_eq!(list(handshake.backend_is(state)), [PublishTransport]);
        assert_eq!(list(handshake.published(true)), [SetState(S::Initialised)]);
        assert_eq!(list(handshake.backend_is(S::Initialising)), []);
        assert_eq!(list(handshake.backend_is(S::Connected)), [CreateCard]);
        assert_eq!(list(handshake.card_ready(true)), [SetState(S::Connected)]);
        let _ = handshake.held(true);
        assert_eq!(
            list(handshake.backend_is(S::Closed)),
            [SuspendCard, FreeTransport, SetState(S::Reconfiguring)],
            "a daemon that ends"
        );
        assert_eq!(list(handshake.backend_is(S::InitWait)), [PublishTransport]);
    }
}

#[test]
fn a_lost_backend_takes_an_unused_card_along() {
    for state in [S::Closing, S::Closed, S::Unknown, S::Initialising] {
        let mut handshake = connected(false);
        assert_eq!(list(handshake.backend_is(state)), [RemoveCard, FreeTransport, SetState(S::Initialising)]);
        assert_eq!(list(handshake.backend_is(S::Closed)), []);
        assert_eq!(list(handshake.backend_is(S::InitWait)), [PublishTransport]);
    }
}

#[test]
fn a_held_card_is_resumed_on_the_next_connection() {
    let mut handshake = connected(true);
    assert_eq!(list(handshake.backend_is(S::Unknown)), [SuspendCard, FreeTransport, SetState(S::Reconfiguring)]);
    assert_eq!(list(handshake.backend_is(S::Initialising)), []);
    assert!(!handshake.accepts_applications());
    assert_eq!(list(handshake.backend_is(S::InitWait)), [PublishTransport]);
    assert_eq!(list(handshake.published(true)), [SetState(S::Initialised)]);
    assert_eq!(list(handshake.backend_is(S::Connected)), [ResumeCard]);
    assert_eq!(list(handshake.card_ready(true)), [SetState(S::Connected)]);
}

#[test]
fn a_card_that_nobody_makes_an_offer_to_in_reconfiguring_is_shown_as_initialising() {
    let mut handshake = connected(true);
    let start = u32::MAX - 10;
    for _ in 0..2 {
        assert_eq!((list(handshake.look(start)), handshake.look_in_ms(start)), (Vec::new(), None));
        let _ = handshake.backend_is(S::Closed);
        assert_eq!((list(handshake.look(start)), handshake.look_in_ms(start)), (Vec::new(), Some(UNHEEDED_MS)));
        let almost = start.wrapping_add(UNHEEDED_MS - 1);
        assert_eq!((list(handshake.look(almost)), handshake.look_in_ms(almost)), (Vec::new(), Some(1)));
        let now = start.wrapping_add(UNHEEDED_MS);
        assert_eq!(list(handshake.look(now)), [SetState(S::Initialising)]);
        assert_eq!((list(handshake.look(now)), handshake.look_in_ms(now)), (Vec::new(), None));
        // The card is still held, and is resumed.
        assert_eq!(list(handshake.backend_is(S::Initialising)), []);
        assert_eq!(list(handshake.backend_is(S::InitWait)), [PublishTransport]);
        assert_eq!(handshake.state(), S::Initialising);
        let _ = handshake.published(true);
        assert_eq!(list(handshake.backend_is(S::Connected)), [ResumeCard]);
        let _ = handshake.card_ready(true);
    }
}

#[test]
fn user_space_never_shows_reconfiguring() {
    let mut handshake = Handshake::new().waiting_as_initialising();
    let _ = handshake.backend_is(S::InitWait);
    let _ = handshake.published(true);
    let _ = handshake.backend_is(S::Connected);
    let _ = handshake.card_ready(true);
    let _ = handshake.held(true);
    assert_eq!(list(handshake.backend_is(S::Closed)), [SuspendCard, FreeTransport, SetState(S::Initialising)]);
    assert_eq!(list(handshake.look(5000)), []);
    assert_eq!(list(handshake.backend_is(S::InitWait)), [PublishTransport]);
}

#[test]
fn a_held_card_without_a_backend_goes_when_nobody_holds_it_any_more() {
    let mut handshake = connected(true);
    let _ = handshake.backend_is(S::Closed);
    assert_eq!(list(handshake.held(true)), []);
    assert_eq!(list(handshake.held(false)), [RemoveCard, SetState(S::Initialising)]);
    assert_eq!(list(handshake.backend_is(S::InitWait)), [PublishTransport]);
}

#[test]
fn a_backend_back_before_we_saw_it_go_is_a_new_connection() {
    let mut handshake = connected(true);
    let actions = list(handshake.backend_is(S::InitWait));
    assert_eq!(actions, [SuspendCard, FreeTransport, SetState(S::Reconfiguring), PublishTransport]);
}

#[test]
fn a_backend_that_went_while_we_published_is_noticed() {
    let mut handshake = Handshake::new();
    let _ = handshake.backend_is(S::InitWait);
    assert_eq!(list(handshake.backend_is(S::Closed)), []);
    let actions = list(handshake.published(true));
    assert_eq!(actions, [SetState(S::Initialised), FreeTransport, SetState(S::Initialising)]);
}

#[test]
fn our_own_failure_ends_in_closed_until_the_backend_starts_again() {
    let mut handshake = Handshake::new();
    let _ = handshake.backend_is(S::InitWait);
    assert_eq!(list(handshake.published(false)), [FreeTransport, SetState(S::Closed)]);
    assert_eq!(list(handshake.backend_is(S::InitWait)), []);
    assert_eq!(list(handshake.backend_is(S::Closed)), [SetState(S::Initialising)]);
    assert_eq!(list(handshake.backend_is(S::InitWait)), [PublishTransport]);
}

#[test]
fn detaching_waits_for_the_backend_before_it_frees_the_transport() {
    let mut handshake = connected(true);
    assert_eq!(list(handshake.detach()), [RemoveCard, SetState(S::Closing)]);
    assert_eq!(list(handshake.backend_is(S::Connected)), []);
    assert_eq!(list(handshake.backend_is(S::InitWait)), [FreeTransport, SetState(S::Closed)]);
    assert!(handshake.is_closed());
    assert_eq!(list(handshake.detach()), []);

    let mut handshake = connected(false);
    let _ = handshake.detach();
    assert_eq!(list(handshake.give_up()), [FreeTransport, SetState(S::Closed)]);
    assert_eq!(list(handshake.backend_is(S::InitWait)), []);
}

#[test]
fn what_is_detached_without_a_backend_writes_no_state() {
    // The node may be that of a card that is attached again.
    for state in [S::Closing, S::Closed, S::Unknown] {
        let mut handshake = connected(true);
        let _ = handshake.backend_is(state);
        assert_eq!(list(handshake.detach()), [RemoveCard]);
        assert!(handshake.is_closed());
    }
    let mut handshake = Handshake::new();
    let _ = handshake.backend_is(S::Initialising);
    assert_eq!(list(handshake.detach()), [SetState(S::Closed)]);
}

proptest! {
    /// Transport and card are created and freed in turns, never twice, for any inputs.
    #[test]
    fn every_action_has_its_opposite(inputs in prop::collection::vec((0..7_u8, 0..10_u8), 0..80)) {
        let mut handshake = Handshake::new();
        let (mut transport, mut card, mut written) = (false, false, S::Initialising);
        for (input, value) in inputs {
            let actions = match input {
                0 | 1 => handshake.backend_is(S::from_number(value)),
                2 => handshake.published(value > 1),
                3 => handshake.card_ready(value > 1),
                4 => handshake.held(value > 4),
                5 => handshake.look(u32::from(value) * 300),
                _ if value == 0 => handshake.detach(),
                _ if value == 1 => handshake.give_up(),
                _ => Actions::default(),
            };
            for action in actions {
                match action {
                    PublishTransport => { prop_assert!(!transport); transport = true; }
                    FreeTransport => { prop_assert!(transport); transport = false; }
                    CreateCard => { prop_assert!(transport && !card); card = true; }
                    ResumeCard => prop_assert!(transport && card),
                    SuspendCard => prop_assert!(card),
                    RemoveCard => { prop_assert!(card); card = false; }
                    SetState(state) => written = state,
                }
            }
            prop_assert!(written == handshake.state() || handshake.is_closed());
            // A card that could not be created does not exist.
            if !handshake.card && !matches!(handshake.phase, Phase::Creating) { card = false; }
            if handshake.is_connected() { prop_assert!(transport && card); }
        }
    }
}
