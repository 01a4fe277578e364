//! Tests of the memory ordering between the two ends, in every interleaving that the Rust memory model allows (loom):
//! packets are written before they are shown, slots are reused only after they were read, and no end sleeps while the
//! other believes that it need not notify.
//!
//! A slot is an `UnsafeCell` that loom watches: two accesses that nothing orders fail the test. The tests at the end
//! remove one ordering each and expect that failure.

use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering, fence};
use loom::thread;
use sndif::v2::{EVENT_SLOTS, Event, EventConsumer, EventProducer, PACKET_BYTES};
use sndif::{BackRing, FrontRing, PAGE_BYTES, SLOTS_OFFSET, SharedMemory};

/// Ordering that a page omits, to show that the tests notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    Release,
    Acquire,
    Fence,
}

/// A page with four words of indices and slots of `SLOT` bytes, of which the first 16 are kept.
struct LoomPage<const SLOT: usize> {
    words: [AtomicU32; 4],
    slots: Vec<UnsafeCell<[u8; 16]>>,
    without: Without,
}

// SAFETY: loom checks at every access to the cells that it is ordered; it ends the test before an unordered access
// happens.
unsafe impl<const SLOT: usize> Sync for LoomPage<SLOT> {}
// SAFETY: no part of the page belongs to one thread.
unsafe impl<const SLOT: usize> Send for LoomPage<SLOT> {}

impl<const SLOT: usize> LoomPage<SLOT> {
    fn new(without: Without) -> Arc<Self> {
        let slots = (PAGE_BYTES - SLOTS_OFFSET) / SLOT;
        let words = [0; 4].map(AtomicU32::new);
        Arc::new(Self { words, slots: (0..slots).map(|_| UnsafeCell::new([0; 16])).collect(), without })
    }

    fn slot(&self, offset: usize) -> &UnsafeCell<[u8; 16]> {
        assert!(offset >= SLOTS_OFFSET && (offset - SLOTS_OFFSET).is_multiple_of(SLOT));
        &self.slots[(offset - SLOTS_OFFSET) / SLOT]
    }
}

/// A page behind an `Arc`, of which each thread of a test has one.
struct Shared<const SLOT: usize>(Arc<LoomPage<SLOT>>);

impl<const SLOT: usize> SharedMemory for Shared<SLOT> {
    fn len(&self) -> usize {
        PAGE_BYTES
    }

    fn load_acquire(&self, offset: usize) -> u32 {
        let ordering = if self.0.without == Without::Acquire { Ordering::Relaxed } else { Ordering::Acquire };
        self.0.words[offset / 4].load(ordering)
    }

    fn store_release(&self, offset: usize, value: u32) {
        let ordering = if self.0.without == Without::Release { Ordering::Relaxed } else { Ordering::Release };
        self.0.words[offset / 4].store(value, ordering);
    }

    fn full_fence(&self) {
        if self.0.without != Without::Fence {
            fence(Ordering::SeqCst);
        }
    }

    fn read(&self, offset: usize, into: &mut [u8]) -> bool {
        self.0.slot(offset).with(|slot| {
            // SAFETY: loom keeps the cell alive and has just checked that no write runs at the same time.
            into[..16].copy_from_slice(unsafe { &*slot });
        });
        true
    }

    fn write(&self, offset: usize, from: &[u8]) -> bool {
        self.0.slot(offset).with_mut(|slot| {
            // SAFETY: loom keeps the cell alive and has just checked that no other access runs at the same time.
            unsafe { (*slot).copy_from_slice(&from[..16]) };
        });
        true
    }
}

/// A packet size that gives a ring of eight slots: few to fill, and small beside the stack that loom gives a thread.
const SLOT: usize = (PAGE_BYTES - SLOTS_OFFSET) / SLOTS as usize;
const SLOTS: u8 = 8;

fn packet(number: u8) -> [u8; SLOT] {
    [number; SLOT]
}

/// Makes both ends of a fresh ring.
fn ring(without: Without) -> (FrontRing<Shared<SLOT>, SLOT>, BackRing<Shared<SLOT>, SLOT>) {
    let page = LoomPage::new(without);
    (FrontRing::new(Shared(page.clone())), BackRing::new(Shared(page)))
}

/// Checks that taken packets equal the put ones, though the other side puts more meanwhile.
fn requests_are_whole(without: Without) {
    loom::model(move || {
        let (mut front, mut back) = ring(without);
        let frontend = thread::spawn(move || {
            for number in 1..=2 {
                front.put(&packet(number)).expect("a free slot");
                let _ = front.publish();
            }
        });
        let mut expected = 1;
        for _ in 0..3 {
            if let Some(request) = back.take().expect("an honest frontend") {
                assert_eq!(request[..16], [expected; 16]);
                expected += 1;
            }
        }
        frontend.join().expect("no failure there");
    });
}

/// Checks a ring full of responses: the frontend takes the first while they are shown, and puts the next request into
/// its slot.
fn slots_are_reused(without: Without) {
    loom::model(move || {
        let (mut front, mut back) = ring(without);
        for number in 0..SLOTS {
            front.put(&packet(number)).expect("a free slot");
        }
        let _ = front.publish();
        while let Some(request) = back.take().expect("an honest frontend") {
            assert!(back.respond(&packet(!request[0])));
        }
        let frontend = thread::spawn(move || {
            for number in 0..2 {
                if let Some(response) = front.take().expect("an honest backend") {
                    assert!(!response[0] <= number);
                    front.put(&packet(100)).expect("the slot is free again");
                    let _ = front.publish();
                }
            }
        });
        let _ = back.publish();
        for _ in 0..2 {
            if let Some(request) = back.take().expect("an honest frontend") {
                assert_eq!(request[0], 100);
                assert!(back.respond(&packet(200)));
                let _ = back.publish();
            }
        }
        frontend.join().expect("no failure there");
    });
}

/// Lets a backend go to sleep for the next request, or for the next two, while they come: it has seen each, or is
/// notified.
fn the_backend_is_woken(without: Without, wanted: u32) {
    loom::model(move || {
        let (mut front, mut back) = ring(without);
        let frontend = thread::spawn(move || {
            [1, 2].map(|number| {
                front.put(&packet(number)).expect("a free slot");
                front.publish()
            })
        });
        let mut taken = 0;
        loop {
            while back.take().expect("an honest frontend").is_some() {
                taken += 1;
            }
            if !back.arm(wanted) {
                break;
            }
        }
        let notified = frontend.join().expect("no failure there");
        let awaited = taken + wanted as usize - 1;
        assert!(notified.get(awaited) != Some(&false), "asleep with request {awaited} in the ring");
    });
}

/// Lets a frontend go to sleep for the next response, or for the next two.
fn the_frontend_is_woken(without: Without, wanted: u32) {
    loom::model(move || {
        let (mut front, mut back) = ring(without);
        for number in 0..3 {
            front.put(&packet(number)).expect("a free slot");
        }
        let _ = front.publish();
        let mut answer = move || {
            let request = back.take().expect("an honest frontend").expect("a request");
            assert!(back.respond(&request));
            back.publish()
        };
        // The first response uses up the mark that a new ring has.
        assert!(answer());
        assert!(front.take().expect("an honest backend").is_some());
        let backend = thread::spawn(move || [answer(), answer()]);
        let sees_more = front.arm(wanted);
        let notified = backend.join().expect("no failure there");
        assert!(sees_more || notified[wanted as usize - 1], "asleep with its responses in the ring");
    });
}

/// Checks that events are read whole while more are pushed.
fn events_are_whole(without: Without) {
    loom::model(move || {
        let page = LoomPage::<PACKET_BYTES>::new(without);
        let mut producer = EventProducer::new(Shared(page.clone()));
        let mut consumer = EventConsumer::new(Shared(page));
        let backend = thread::spawn(move || {
            for position in [100, 200] {
                producer.push(position).expect("room");
            }
        });
        let mut seen = 0_u16;
        for _ in 0..3 {
            if let Some(packet) = consumer.take().expect("an honest backend") {
                let event = Event::parse(&packet).expect("a position");
                assert_eq!(event, Event { id: seen, position_bytes: 100 * (u64::from(seen) + 1) });
                seen += 1;
                consumer.confirm();
            }
        }
        backend.join().expect("no failure there");
    });
}

/// Lets a frontend that was notified of every second event go to sleep for each one, while one comes: the frontend has
/// seen it, or is notified.
fn each_event_wakes_again(without: Without) {
    loom::model(move || {
        let page = LoomPage::<PACKET_BYTES>::new(without);
        let mut producer = EventProducer::new(Shared(page.clone())).with_hold_off(true);
        let consumer = EventConsumer::new(Shared(page));
        assert!(!consumer.hold_off(2));
        let backend = thread::spawn(move || producer.push(100).expect("room"));
        let sees_it = consumer.hold_off(1);
        let notified = backend.join().expect("no failure there");
        assert!(sees_it || notified, "asleep with an event in the page");
    });
}

/// Checks a full page: the frontend confirms while the backend tries to push into the slot that was just read.
fn event_slots_are_reused(without: Without) {
    loom::model(move || {
        let page = LoomPage::<PACKET_BYTES>::new(without);
        let mut producer = EventProducer::new(Shared(page.clone()));
        let mut consumer = EventConsumer::new(Shared(page));
        for position in 0..u64::from(EVENT_SLOTS) {
            producer.push(position).expect("room");
        }
        let frontend = thread::spawn(move || {
            assert!(consumer.take().expect("an honest backend").is_some());
            consumer.confirm();
        });
        let _ = producer.push(1000);
        frontend.join().expect("no failure there");
    });
}

#[test]
fn a_packet_is_written_before_it_is_shown() {
    requests_are_whole(Without::Nothing);
    events_are_whole(Without::Nothing);
}

#[test]
fn a_slot_is_written_again_only_after_it_was_read() {
    slots_are_reused(Without::Nothing);
    event_slots_are_reused(Without::Nothing);
}

#[test]
fn nobody_sleeps_beside_a_packet() {
    the_backend_is_woken(Without::Nothing, 1);
    the_backend_is_woken(Without::Nothing, 2);
    the_frontend_is_woken(Without::Nothing, 1);
    the_frontend_is_woken(Without::Nothing, 2);
    each_event_wakes_again(Without::Nothing);
}

/// Returns true if `model` finds a failure.
fn fails(model: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(model)).is_err()
}

#[test]
fn each_ordering_is_needed() {
    assert!(fails(|| requests_are_whole(Without::Release)));
    assert!(fails(|| requests_are_whole(Without::Acquire)));
    assert!(fails(|| events_are_whole(Without::Release)));
    assert!(fails(|| events_are_whole(Without::Acquire)));
    assert!(fails(|| event_slots_are_reused(Without::Release)));
    assert!(fails(|| the_backend_is_woken(Without::Fence, 1)));
    assert!(fails(|| the_frontend_is_woken(Without::Fence, 1)));
    assert!(fails(|| each_event_wakes_again(Without::Fence)));
    assert!(fails(|| slots_are_reused(Without::Acquire)));
}
