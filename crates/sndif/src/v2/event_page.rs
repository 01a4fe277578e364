//! Both ends of the event page: 63 slots, written by the backend, read by the frontend.
//!
//! The page has `in_cons` (u32, the frontend's) at 0, `in_prod` (u32, the backend's) at 4, `in_awaited` (u32, the
//! frontend's; an extension of this project) at 8, padding to 64, then the slots. The slot of an event is its index
//! modulo 63. The indices run freely over u32, which is no multiple of 63. So at the wrap the slot jumps from 3 back to
//! 0, while the events in the slots from 0 on may not have been read: the producer then waits until the consumer has
//! followed it over the wrap.
//!
//! Ids of events have no gaps. Linux's driver (`snd_xen_front`) up to 6.12 counts them over the connection. The driver
//! of Linux 7.3 starts again from 0 for each OPEN, and before each OPEN sets `in_cons` to `in_prod`. Each of them
//! ignores all events after an id that it does not expect, and says nowhere which of them it is. So the producer can
//! [leave an event](EventProducer::with_probe) in the page that no notification tells of: whether it is still unread at
//! the first OPEN shows how the frontend counts.

use core::fmt;

use super::{Event, PACKET_BYTES};
use crate::text::{Say, Sink, display, say};
use crate::{PAGE_BYTES, SharedMemory};

const IN_CONS: usize = 0;
const IN_PROD: usize = 4;
const IN_AWAITED: usize = 8;

/// Offset of the slots in the page.
pub const EVENT_SLOTS_OFFSET: usize = 64;

/// Number of slots.
#[expect(clippy::cast_possible_truncation, reason = "a page holds 63")]
pub const EVENT_SLOTS: u32 = ((PAGE_BYTES - EVENT_SLOTS_OFFSET) / PACKET_BYTES) as u32;

#[expect(clippy::arithmetic_side_effects, reason = "63 slots end within the page")]
const fn slot_offset(index: u32) -> usize {
    EVENT_SLOTS_OFFSET + (index % EVENT_SLOTS) as usize * PACKET_BYTES
}

/// The frontend has not confirmed enough events. The event got no number: the next position covers this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPageFull;

impl fmt::Display for EventPageFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the frontend has not read its events")
    }
}

impl core::error::Error for EventPageFull {}

/// The backend's index claims more events than the page holds; latched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventViolation {
    /// Index that the backend wrote.
    pub producer: u32,
    /// Index of the next event to read.
    pub consumer: u32,
}

impl Say for EventViolation {
    fn say(&self, out: &mut dyn Sink) {
        say(out, &[&"event index ", &self.producer, &" is more than ", &EVENT_SLOTS, &" ahead of ", &self.consumer]);
    }
}

impl fmt::Display for EventViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(self, f)
    }
}

impl core::error::Error for EventViolation {}

/// The frontend's way of counting ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ids {
    /// From 0 over the connection.
    OfConnection,
    /// From 0 for each OPEN.
    OfStream,
    /// Known at the first OPEN.
    Unknown,
}

/// The backend's end.
#[derive(Debug)]
pub struct EventProducer<M> {
    memory: M,
    producer: u32,
    /// Id of the next event.
    next_id: u16,
    ids: Ids,
    /// The frontend says which events it is to be notified of.
    holds_off: bool,
}

impl<M: SharedMemory> EventProducer<M> {
    /// Attaches to a page that a frontend has zeroed.
    pub fn new(memory: M) -> Self {
        Self { memory, producer: 0, next_id: 0, ids: Ids::OfConnection, holds_off: false }
    }

    /// Leaves an event of position 0 in the page, for a frontend that may count ids in either way. To be called before the
    /// frontend can open a stream; it must not be notified.
    #[must_use]
    pub fn with_probe(mut self) -> Self {
        if self.push(0).is_ok() {
            self.ids = Ids::Unknown;
        }
        self
    }

    /// Begins the ids of a stream: to be called at each OPEN.
    pub fn begin_stream(&mut self) {
        if self.ids == Ids::Unknown {
            let skipped = self.memory.load_acquire(IN_CONS) == self.producer;
            self.ids = if skipped { Ids::OfStream } else { Ids::OfConnection };
        }
        if self.ids == Ids::OfStream {
            self.next_id = 0;
        }
    }

    /// Sets whether the frontend says which events it is to be notified of (its node `event-hold-off`); otherwise of each.
    #[must_use]
    pub fn with_hold_off(self, holds_off: bool) -> Self {
        Self { holds_off, ..self }
    }

    /// Starts with the index at `index`, like after that many events.
    #[cfg(test)]
    fn starting_at(memory: M, index: u32) -> Self {
        memory.store_release(IN_PROD, index);
        memory.store_release(IN_CONS, index);
        Self { memory, producer: index, next_id: 0, ids: Ids::OfConnection, holds_off: false }
    }

    /// Returns true if an event fits. An invalid consumer index counts as "nothing read".
    #[must_use]
    pub fn has_room(&self) -> bool {
        let consumer = self.memory.load_acquire(IN_CONS);
        let wrapped_ahead_of_consumer = self.producer < consumer;
        self.producer.wrapping_sub(consumer) < EVENT_SLOTS && !wrapped_ahead_of_consumer
    }

    /// Writes a position and shows it; returns whether the frontend is to be notified.
    ///
    /// # Errors
    /// [`EventPageFull`]; the event gets no number then, and only an intermediate position is lost.
    pub fn push(&mut self, position_bytes: u64) -> Result<bool, EventPageFull> {
        if !self.has_room() {
            return Err(EventPageFull);
        }
        let event = Event { id: self.next_id, position_bytes };
        self.memory.write(slot_offset(self.producer), &event.emit());
        self.next_id = self.next_id.wrapping_add(1);
        self.producer = self.producer.wrapping_add(1);
        self.memory.store_release(IN_PROD, self.producer);
        Ok(!self.holds_off || self.is_awaited())
    }

    /// Returns true if the frontend wants to be notified of so many unread events; a full page is always told of.
    fn is_awaited(&self) -> bool {
        self.memory.full_fence();
        let unread = self.producer.wrapping_sub(self.memory.load_acquire(IN_CONS));
        let awaited = self.memory.load_acquire(IN_AWAITED).min(EVENT_SLOTS);
        // Behind the index's wrap there is no room until the frontend has followed.
        unread >= awaited || self.producer == 0
    }
}

/// The frontend's end.
#[derive(Debug)]
pub struct EventConsumer<M> {
    memory: M,
    consumer: u32,
    broken: Option<EventViolation>,
}

impl<M: SharedMemory> EventConsumer<M> {
    /// Starts on a page of zeroes.
    pub fn new(memory: M) -> Self {
        Self { memory, consumer: 0, broken: None }
    }

    #[cfg(test)]
    fn starting_at(memory: M, index: u32) -> Self {
        Self { memory, consumer: index, broken: None }
    }

    /// Copies the next event out of the page, or returns `None` when all were taken. [`confirm`](Self::confirm) gives
    /// the slots back.
    ///
    /// # Errors
    /// [`EventViolation`] when the producer index is impossible; latched.
    pub fn take(&mut self) -> Result<Option<[u8; PACKET_BYTES]>, EventViolation> {
        if let Some(violation) = self.broken {
            return Err(violation);
        }
        let producer = self.memory.load_acquire(IN_PROD);
        if producer.wrapping_sub(self.consumer) > EVENT_SLOTS {
            let violation = EventViolation { producer, consumer: self.consumer };
            self.broken = Some(violation);
            return Err(violation);
        }
        if producer == self.consumer {
            return Ok(None);
        }
        let mut slot = [0; PACKET_BYTES];
        self.memory.read(slot_offset(self.consumer), &mut slot);
        self.consumer = self.consumer.wrapping_add(1);
        Ok(Some(slot))
    }

    /// Gives the slots of all taken events back to the backend.
    pub fn confirm(&self) {
        self.memory.store_release(IN_CONS, self.consumer);
    }

    /// Asks for notifications from `unconfirmed` events on, of each with 0 or 1; `true` when there are events that were not taken.
    #[must_use = "an event that came before raises no notification"]
    pub fn hold_off(&self, unconfirmed: u32) -> bool {
        self.memory.store_release(IN_AWAITED, unconfirmed);
        self.memory.full_fence();
        self.memory.load_acquire(IN_PROD) != self.consumer
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::test_utils::Pages;

    #[test]
    fn ids_are_counted_as_the_frontend_is_seen_to_count_them() {
        let ids = |skips: bool, producer: fn(Pages) -> EventProducer<Pages>| {
            let page = Pages::new(1);
            let mut producer = producer(page.clone());
            let mut seen = Vec::new();
            for _ in 0..2 {
                if skips {
                    page.store_release(IN_CONS, page.load_acquire(IN_PROD));
                }
                producer.begin_stream();
                for position in [10, 20] {
                    assert_eq!(producer.push(position), Ok(true));
                    let mut slot = [0; PACKET_BYTES];
                    page.read(slot_offset(page.load_acquire(IN_PROD) - 1), &mut slot);
                    seen.push(Event::parse(&slot).unwrap().id);
                }
            }
            seen
        };
        let probed = |page| EventProducer::new(page).with_probe();
        assert_eq!((ids(true, probed), ids(false, probed)), (std::vec![0, 1, 0, 1], std::vec![1, 2, 3, 4]));
        assert_eq!((ids(true, EventProducer::new), ids(false, EventProducer::new)), {
            let over_the_connection = std::vec![0, 1, 2, 3];
            (over_the_connection.clone(), over_the_connection)
        });
    }

    #[test]
    fn positions_arrive_in_order_with_gapless_ids_over_the_wrap_of_the_index() {
        for start in [0, u32::MAX - 70, u32::MAX - 3] {
            let page = Pages::new(1);
            let mut producer = EventProducer::starting_at(&page, start);
            let mut consumer = EventConsumer::starting_at(&page, start);
            let (mut sent, mut seen) = (0_u64, 0_u64);
            while seen < 300 {
                while producer.push(sent).is_ok() {
                    sent += 1;
                }
                while let Ok(Some(packet)) = consumer.take() {
                    let event = Event::parse(&packet).unwrap();
                    assert_eq!((u64::from(event.id), event.position_bytes), (seen, seen));
                    seen += 1;
                }
                consumer.confirm();
            }
        }
    }

    #[test]
    fn a_full_page_numbers_nothing() {
        let page = Pages::new(1);
        let mut producer = EventProducer::new(&page);
        for position in 0..u64::from(EVENT_SLOTS) {
            producer.push(position).unwrap();
        }
        assert_eq!(producer.push(1000), Err(EventPageFull));
        let mut consumer = EventConsumer::new(&page);
        while let Ok(Some(_)) = consumer.take() {}
        consumer.confirm();
        producer.push(2000).unwrap();
        let event = Event::parse(&consumer.take().unwrap().unwrap()).unwrap();
        assert_eq!(event, Event { id: 63, position_bytes: 2000 });
    }

    #[test]
    fn a_frontend_is_notified_from_as_many_unread_events_on_as_it_said() {
        let page = Pages::new(1);
        let mut consumer = EventConsumer::new(&page);
        let told = |producer: &mut EventProducer<_>, events| -> Vec<bool> {
            (0..events).map(|position| producer.push(position).unwrap()).collect()
        };
        // The frontend has said nothing, or the backend has not been told that it does.
        assert_eq!(told(&mut EventProducer::new(&page).with_hold_off(true), 3), [true; 3]);
        let page = Pages::new(1);
        consumer = EventConsumer { memory: &page, ..consumer };
        assert!(!consumer.hold_off(4));
        assert_eq!(told(&mut EventProducer::new(&page), 3), [true; 3]);
        let page = Pages::new(1);
        consumer = EventConsumer { memory: &page, ..consumer };
        let mut producer = EventProducer::new(&page).with_hold_off(true);
        assert!(!consumer.hold_off(4));
        assert_eq!(told(&mut producer, 6), [false, false, false, true, true, true]);
        // Taken is not confirmed.
        while let Ok(Some(_)) = consumer.take() {}
        assert_eq!(told(&mut producer, 1), [true]);
        while let Ok(Some(_)) = consumer.take() {}
        consumer.confirm();
        assert_eq!(told(&mut producer, 2), [false, false]);
        assert!(consumer.hold_off(1), "there are two");
        assert_eq!(told(&mut producer, 1), [true]);
    }

    #[test]
    fn a_page_that_takes_no_more_is_told_of_whatever_the_frontend_said() {
        for start in [0, u32::MAX - 9] {
            let page = Pages::new(1);
            let mut producer = EventProducer::starting_at(&page, start).with_hold_off(true);
            let consumer = EventConsumer::starting_at(&page, start);
            assert!(!consumer.hold_off(u32::MAX));
            let mut told = Vec::new();
            while producer.has_room() {
                told.push(producer.push(0).unwrap());
            }
            let last = told.pop();
            assert_eq!((last, told.contains(&true)), (Some(true), false), "from {start}");
        }
    }

    #[test]
    fn ring_overflow_an_impossible_event_index_is_latched() {
        let page = Pages::new(1);
        let mut consumer = EventConsumer::new(&page);
        page.store_release(IN_PROD, EVENT_SLOTS + 1);
        let violation = consumer.take().unwrap_err();
        page.store_release(IN_PROD, 1);
        assert_eq!(consumer.take(), Err(violation));
    }

    #[test]
    fn an_impossible_consumer_index_only_stops_our_events() {
        let page = Pages::new(1);
        let mut producer = EventProducer::new(&page);
        page.store_release(IN_CONS, 5);
        assert_eq!(producer.push(1), Err(EventPageFull));
    }
}
