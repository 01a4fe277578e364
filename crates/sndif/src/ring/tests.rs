//! Tests with both ends of a ring on one page, at the start of the indices and where they wrap.

use std::vec::Vec;

use super::*;
use crate::test_utils::Pages;

const SLOT: usize = 64;
const SLOTS: u32 = ring_slots(SLOT);

/// Indices at which a ring is started: fresh, and with 2^32 within reach of one, few and all slots.
const STARTS: [u32; 5] = [0, u32::MAX, u32::MAX - 1, u32::MAX - SLOTS + 1, u32::MAX - 2 * SLOTS];

/// Makes both ends in their state after `index` requests and responses.
fn ring_at(page: &Pages, index: u32) -> (FrontRing<&Pages, SLOT>, BackRing<&Pages, SLOT>) {
    page.store_release(REQ_PROD, index);
    page.store_release(RSP_PROD, index);
    page.store_release(REQ_EVENT, index.wrapping_add(1));
    page.store_release(RSP_EVENT, index.wrapping_add(1));
    let front = FrontRing { memory: page, req_prod: index, published: index, rsp_cons: index, broken: None };
    let back = BackRing { memory: page, req_cons: index, rsp_prod: index, published: index, broken: None };
    (front, back)
}

fn each_start(test: impl Fn(&Pages, FrontRing<&Pages, SLOT>, BackRing<&Pages, SLOT>)) {
    for start in STARTS {
        let page = Pages::new(1);
        let (front, back) = ring_at(&page, start);
        test(&page, front, back);
    }
}

fn packet(number: u8) -> [u8; SLOT] {
    [number; SLOT]
}

#[test]
fn slot_counts_are_those_of_ring_h() {
    assert_eq!(ring_slots(64), 32);
    assert_eq!(ring_slots(80), 32, "protocol v0");
    assert_eq!(ring_slots(4032), 1);
    assert_eq!(ring_slots(2016), 2);
    assert_eq!(ring_slots(1), 2048);
}

#[test]
fn a_new_ring_asks_for_the_first_notification_of_either_side() {
    let page = Pages::new(1);
    let mut front = FrontRing::<_, SLOT>::new(&page);
    let mut back = BackRing::<_, SLOT>::new(&page);
    front.put(&packet(1)).unwrap();
    assert!(front.publish());
    assert_eq!(back.take(), Ok(Some(packet(1))));
    assert!(back.respond(&packet(2)));
    assert!(back.publish());
    assert_eq!(front.take(), Ok(Some(packet(2))));
}

#[test]
fn packets_arrive_in_order_through_many_turns() {
    each_start(|_, mut front, mut back| {
        for turn in 0..200_u8 {
            front.put(&packet(turn)).unwrap();
            let _ = front.publish();
            assert_eq!(back.take(), Ok(Some(packet(turn))));
            assert_eq!(back.take(), Ok(None));
            assert!(back.respond(&packet(!turn)));
            let _ = back.publish();
            assert_eq!(front.take(), Ok(Some(packet(!turn))));
            assert_eq!(front.take(), Ok(None));
            assert_eq!(front.in_flight(), 0);
        }
    });
}

#[test]
fn a_full_ring_takes_a_request_only_after_a_response_was_taken() {
    each_start(|_, mut front, mut back| {
        for number in 0..SLOTS {
            assert_eq!(front.free(), SLOTS - number);
            front.put(&packet(number as u8)).unwrap();
        }
        assert_eq!(front.put(&packet(0)), Err(RingFull));
        let _ = front.publish();
        for number in 0..SLOTS {
            assert_eq!(back.take(), Ok(Some(packet(number as u8))));
        }
        assert!(back.respond(&packet(100)));
        let _ = back.publish();
        assert_eq!(front.put(&packet(0)), Err(RingFull), "the response still stands in the slot");
        assert_eq!(front.take(), Ok(Some(packet(100))));
        assert_eq!((front.free(), front.in_flight()), (1, SLOTS - 1));
        front.put(&packet(7)).unwrap();
        let _ = front.publish();
        assert_eq!(back.take(), Ok(Some(packet(7))));
    });
}

#[test]
fn what_was_put_is_seen_only_once_published_and_then_all_of_it() {
    each_start(|_, mut front, mut back| {
        for number in 0..3 {
            front.put(&packet(number)).unwrap();
        }
        assert_eq!(back.take(), Ok(None));
        assert!(front.publish());
        assert!(!front.publish(), "nothing new");
        let taken: Vec<_> = core::iter::from_fn(|| back.take().unwrap()).collect();
        assert_eq!(taken, [packet(0), packet(1), packet(2)]);
        for number in 10..13 {
            assert!(back.respond(&packet(number)));
        }
        assert_eq!(front.take(), Ok(None));
        assert!(back.publish());
        assert!(!back.publish(), "nothing new");
        let taken: Vec<_> = core::iter::from_fn(|| front.take().unwrap()).collect();
        assert_eq!(taken, [packet(10), packet(11), packet(12)]);
    });
}

#[test]
fn there_is_never_a_response_without_a_request() {
    each_start(|page, mut front, mut back| {
        let before = page.load_acquire(RSP_PROD);
        assert!(!back.respond(&packet(1)));
        front.put(&packet(2)).unwrap();
        let _ = front.publish();
        assert!(!back.respond(&packet(1)), "published is not taken");
        assert_eq!(back.take(), Ok(Some(packet(2))));
        assert!(back.respond(&packet(3)));
        assert!(!back.respond(&packet(4)));
        let _ = back.publish();
        assert_eq!(page.load_acquire(RSP_PROD), before.wrapping_add(1));
        assert_eq!(front.take(), Ok(Some(packet(3))));
        assert_eq!(front.take(), Ok(None));
    });
}

#[test]
fn a_backend_that_is_awake_is_not_notified_and_one_that_sleeps_is() {
    each_start(|_, mut front, mut back| {
        front.put(&packet(0)).unwrap();
        assert!(front.publish(), "asleep");
        front.put(&packet(1)).unwrap();
        assert!(!front.publish(), "notified already");
        assert_eq!(back.take(), Ok(Some(packet(0))));
        assert!(back.arm(1), "a request is there: do not sleep");
        assert_eq!(back.take(), Ok(Some(packet(1))));
        assert!(!back.arm(1));
        front.put(&packet(2)).unwrap();
        front.put(&packet(3)).unwrap();
        assert!(front.publish(), "a batch over the mark");
        front.put(&packet(4)).unwrap();
        assert!(!front.publish());
    });
}

#[test]
fn a_backend_is_notified_once_as_many_requests_came_as_it_asked_for() {
    each_start(|_, mut front, mut back| {
        assert!(!back.arm(3));
        let mut notified = Vec::new();
        for number in 0..4 {
            front.put(&packet(number)).unwrap();
            notified.push(front.publish());
        }
        assert_eq!(notified, [false, false, true, false]);
        assert!(back.arm(3), "requests are there");
    });
}

#[test]
fn a_frontend_is_notified_once_as_many_responses_came_as_it_asked_for() {
    each_start(|_, mut front, mut back| {
        for number in 0..4 {
            front.put(&packet(number)).unwrap();
        }
        let _ = front.publish();
        assert!(!front.arm(3));
        let mut notified = Vec::new();
        while let Some(request) = back.take().unwrap() {
            assert!(back.respond(&request));
            notified.push(back.publish());
        }
        assert_eq!(notified, [false, false, true, false]);
        assert!(front.arm(1), "responses are there");
    });
}

#[test]
fn an_arm_for_no_response_is_one_for_the_next() {
    each_start(|_, mut front, mut back| {
        front.put(&packet(0)).unwrap();
        let _ = front.publish();
        assert!(!front.arm(0));
        assert!(back.take().unwrap().is_some() && back.respond(&packet(1)));
        assert!(back.publish());
    });
}

#[test]
fn ring_overflow_a_request_index_past_the_ring_is_latched() {
    each_start(|page, mut front, mut back| {
        front.put(&packet(1)).unwrap();
        let _ = front.publish();
        assert!(back.take().unwrap().is_some());
        let first = back.rsp_prod;
        // One request has no response yet: 31 of the 32 slots are left for new ones.
        page.store_release(REQ_PROD, first.wrapping_add(SLOTS));
        assert!(back.take().is_ok());
        page.store_release(REQ_PROD, first.wrapping_add(SLOTS + 1));
        let violation = RingViolation { producer: first.wrapping_add(SLOTS + 1), limit: first.wrapping_add(SLOTS) };
        assert_eq!(back.take(), Err(violation));
        page.store_release(REQ_PROD, first.wrapping_add(1));
        assert_eq!(back.take(), Err(violation), "stays broken");
    });
}

#[test]
fn ring_overflow_a_request_index_that_runs_back_is_latched() {
    each_start(|page, mut front, mut back| {
        for _ in 0..3 {
            front.put(&packet(1)).unwrap();
        }
        let _ = front.publish();
        while back.take().unwrap().is_some() {}
        let back_to = back.req_cons.wrapping_sub(1);
        page.store_release(REQ_PROD, back_to);
        assert_eq!(back.take().unwrap_err().producer, back_to);
        page.store_release(REQ_PROD, back.req_cons);
        assert!(back.take().is_err());
    });
}

#[test]
fn ring_overflow_a_response_index_past_the_requests_is_latched() {
    each_start(|page, mut front, mut back| {
        front.put(&packet(1)).unwrap();
        let _ = front.publish();
        front.put(&packet(2)).unwrap();
        let published = front.published;
        page.store_release(RSP_PROD, published.wrapping_add(1));
        let violation = RingViolation { producer: published.wrapping_add(1), limit: published };
        assert_eq!(front.take(), Err(violation), "put is not published");
        assert!(back.take().unwrap().is_some() && back.respond(&packet(3)));
        let _ = back.publish();
        assert_eq!(front.take(), Err(violation), "stays broken");
    });
}

#[test]
fn ring_overflow_a_response_index_that_runs_back_is_latched() {
    each_start(|page, mut front, _| {
        page.store_release(RSP_PROD, front.rsp_cons.wrapping_sub(1));
        assert!(front.take().is_err());
        page.store_release(RSP_PROD, front.rsp_cons);
        assert!(front.take().is_err());
    });
}

#[test]
fn a_mark_that_the_other_side_made_up_costs_it_notifications_and_nothing_else() {
    each_start(|page, mut front, mut back| {
        for mark in [0, 1, 77, u32::MAX, 1 << 31] {
            page.store_release(REQ_EVENT, mark);
            page.store_release(RSP_EVENT, mark);
            front.put(&packet(9)).unwrap();
            let _ = front.publish();
            assert_eq!(back.take(), Ok(Some(packet(9))));
            assert!(back.respond(&packet(8)));
            let _ = back.publish();
            assert_eq!(front.take(), Ok(Some(packet(8))));
        }
    });
}
