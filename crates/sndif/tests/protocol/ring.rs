//! Tests of ring and event page against a model, and against another side that writes anything anywhere.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;
use sndif::SharedMemory;
use sndif::v2::{BackRing, EVENT_SLOTS, Event, EventConsumer, EventPageFull, EventProducer, FrontRing, RING_SLOTS};

use sndif::test_utils::Pages;

#[derive(Debug, Clone, Copy)]
enum Step {
    Put,
    PublishRequests,
    TakeRequest,
    ArmBackend,
    Respond,
    PublishResponses,
    TakeResponse,
    ArmFrontend(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Put),
        2 => Just(Step::PublishRequests),
        4 => Just(Step::TakeRequest),
        1 => Just(Step::ArmBackend),
        4 => Just(Step::Respond),
        2 => Just(Step::PublishResponses),
        4 => Just(Step::TakeResponse),
        1 => (0..4_u32).prop_map(Step::ArmFrontend),
    ]
}

fn packet(number: u32) -> [u8; 64] {
    let mut packet = [0; 64];
    packet[..4].copy_from_slice(&number.to_le_bytes());
    packet
}

/// Returns the maximum number of steps; with miri, a tenth.
fn few(steps: usize) -> usize {
    if cfg!(miri) { steps / 10 } else { steps }
}

proptest! {
    #[test]
    fn a_ring_is_two_queues_that_share_their_slots(steps in vec(step(), 0..few(400))) {
        let page = Pages::new(1);
        let mut front = FrontRing::new(&page);
        let mut back = BackRing::new(&page);
        let (mut put, mut answered) = (0, 0);
        let (mut unpublished, mut requests, mut taken) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        let (mut held, mut responses) = (VecDeque::new(), VecDeque::new());
        // An end that sleeps (armed, with nothing there) has to be notified.
        let (mut backend_sleeps, mut frontend_sleeps) = (true, None);
        for step in steps {
            match step {
                Step::Put => {
                    let full = unpublished.len() + requests.len() + taken.len() + held.len() + responses.len()
                        == RING_SLOTS as usize;
                    prop_assert_eq!(front.put(&packet(put)).is_err(), full);
                    if !full {
                        unpublished.push_back(put);
                        put += 1;
                    }
                }
                Step::PublishRequests => {
                    let new = !unpublished.is_empty();
                    requests.append(&mut unpublished);
                    let notified = front.publish();
                    prop_assert!(!backend_sleeps || notified == new, "a backend that sleeps is notified, once");
                    backend_sleeps &= !notified;
                }
                Step::TakeRequest => {
                    let request = requests.pop_front();
                    prop_assert_eq!(back.take(), Ok(request.map(packet)));
                    taken.extend(request);
                }
                Step::ArmBackend => {
                    prop_assert_eq!(back.arm(1), !requests.is_empty());
                    backend_sleeps = requests.is_empty();
                }
                Step::Respond => {
                    let request: Option<u32> = taken.pop_front();
                    prop_assert_eq!(back.respond(&packet(1_000_000 + answered)), request.is_some());
                    if request.is_some() {
                        held.push_back(1_000_000 + answered);
                        answered += 1;
                    }
                }
                Step::PublishResponses => {
                    responses.append(&mut held);
                    let notified = back.publish();
                    if let Some(wanted) = frontend_sleeps {
                        prop_assert_eq!(notified, responses.len() >= wanted);
                        frontend_sleeps = frontend_sleeps.filter(|_| !notified);
                    }
                }
                Step::TakeResponse => {
                    let response = responses.pop_front();
                    prop_assert_eq!(front.take(), Ok(response.map(packet)));
                    if response.is_some() {
                        frontend_sleeps = None;
                    }
                }
                Step::ArmFrontend(wanted) => {
                    prop_assert_eq!(front.arm(wanted), !responses.is_empty());
                    frontend_sleeps = responses.is_empty().then_some(wanted.max(1) as usize);
                }
            }
            let in_flight = unpublished.len() + requests.len() + taken.len() + held.len() + responses.len();
            prop_assert_eq!(front.in_flight() as usize, in_flight);
            prop_assert_eq!(front.free() + front.in_flight(), RING_SLOTS);
        }
    }

    /// The backend takes at most a ring of requests that it has not answered, whatever the guest writes, and once
    /// broken the ring stays broken.
    #[test]
    fn ring_overflow_a_hostile_frontend_breaks_its_ring_at_most(
        writes in vec((0..70_usize, prop_oneof![any::<u32>(), 0..80_u32], 0..4_u8), 0..few(200)),
    ) {
        let page = Pages::new(1);
        let mut back = BackRing::new(&page);
        let (mut open, mut broken) = (0_u32, None);
        for (word, value, what) in writes {
            page.store_release(if word < 60 { 0 } else { (word - 60) * 4 }, value);
            match what {
                0 | 1 => match back.take() {
                    Ok(request) => {
                        prop_assert_eq!(broken, None);
                        open += u32::from(request.is_some());
                        prop_assert!(open <= RING_SLOTS);
                    }
                    Err(violation) => {
                        prop_assert!(broken.is_none_or(|first| first == violation));
                        broken = Some(violation);
                    }
                },
                2 => {
                    prop_assert_eq!(back.respond(&[1; 64]), open > 0);
                    open = open.saturating_sub(1);
                }
                _ => {
                    let _ = (back.publish(), back.arm(1));
                }
            }
        }
    }

    #[test]
    fn ring_overflow_a_hostile_backend_gives_no_more_responses_than_there_were_requests(
        writes in vec((0..70_usize, prop_oneof![any::<u32>(), 0..80_u32], 0..4_u8), 0..few(200)),
    ) {
        let page = Pages::new(1);
        let mut front = FrontRing::new(&page);
        let (mut published, mut broken) = (0_u32, None);
        for (word, value, what) in writes {
            page.store_release(if word < 60 { 8 } else { (word - 60) * 4 }, value);
            match what {
                0 | 1 => match front.take() {
                    Ok(response) => {
                        prop_assert_eq!(broken, None);
                        prop_assert!(response.is_none() || published > 0);
                        published = published.saturating_sub(u32::from(response.is_some()));
                    }
                    Err(violation) => {
                        prop_assert!(broken.is_none_or(|first| first == violation));
                        broken = Some(violation);
                    }
                },
                2 => published += u32::from(front.put(&[1; 64]).is_ok()),
                _ => {
                    let _ = (front.publish(), front.arm(value));
                }
            }
            prop_assert!(front.in_flight() <= RING_SLOTS);
            // The put requests are published at the next opportunity, so that the count above holds.
            let _ = front.publish();
        }
    }

    #[test]
    fn an_event_page_is_a_queue_of_63_with_gapless_ids(
        steps in vec(0..6_u8, 0..few(600)),
        awaited in prop_oneof![0..70_u32, any::<u32>()],
    ) {
        let page = Pages::new(1);
        let mut producer = EventProducer::new(&page).with_hold_off(true);
        let mut consumer = EventConsumer::new(&page);
        let (mut pushed, mut taken, mut confirmed) = (0_u64, 0_u64, 0_u64);
        prop_assert!(!consumer.hold_off(awaited));
        for step in steps {
            match step {
                0..3 => {
                    let full = pushed - confirmed == u64::from(EVENT_SLOTS);
                    prop_assert_eq!(producer.has_room(), !full);
                    let told = producer.push(pushed * 7);
                    pushed += u64::from(!full);
                    let awaited = pushed - confirmed >= u64::from(awaited.min(EVENT_SLOTS));
                    prop_assert_eq!(told, if full { Err(EventPageFull) } else { Ok(awaited) });
                }
                3 | 4 => {
                    let event = consumer.take().unwrap().map(|packet| Event::parse(&packet).unwrap());
                    let id = u16::try_from(taken).unwrap();
                    let expected = (taken < pushed).then_some(Event { id, position_bytes: taken * 7 });
                    prop_assert_eq!(event, expected);
                    taken += u64::from(event.is_some());
                }
                _ => {
                    consumer.confirm();
                    confirmed = taken;
                }
            }
        }
    }

    #[test]
    fn hostile_event_indices_stop_events_and_nothing_else(writes in vec((any::<bool>(), any::<u32>(), any::<bool>()), 0..few(100))) {
        let page = Pages::new(1);
        let mut producer = EventProducer::new(&page).with_hold_off(true);
        let mut consumer = EventConsumer::new(&page);
        let mut broken = None;
        for (index, value, near) in writes {
            let value = if near { value % 130 } else { value };
            page.store_release(if index { 0 } else { 4 }, value);
            page.store_release(8, value.rotate_left(7));
            if let Err(violation) = consumer.take() {
                prop_assert!(broken.is_none_or(|first| first == violation));
                broken = Some(violation);
            } else {
                prop_assert_eq!(broken, None);
            }
            let _ = producer.push(1);
        }
    }
}
