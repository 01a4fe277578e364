//! Tests with memory that changes at every read, and fails the test when the bytes of one packet are read twice
//! (XSA-155).

use std::cell::{Cell, RefCell};

use proptest::prelude::*;
use sndif::v2::{BackRing, Event, EventConsumer, FrontRing, PACKET_BYTES, Request, Response};
use sndif::{
    DIRECTORY_REFS, DirectoryStep, DirectoryWalk, GrantRef, PAGE_BYTES, SLOTS_OFFSET, SharedMemory, pages_for,
};

/// A page of the other side that changes at every read. Its indices are ordinary words.
struct Restless {
    words: RefCell<[u32; SLOTS_OFFSET / 4]>,
    /// Number of reads of each byte behind the indices since its slot was given out last.
    reads: RefCell<Vec<u32>>,
    noise: Cell<u32>,
    indices_end: usize,
}

impl Restless {
    /// Makes a page whose first `indices_end` bytes are index words.
    fn new(indices_end: usize, noise: u32) -> Self {
        Self {
            words: RefCell::new([0; SLOTS_OFFSET / 4]),
            reads: RefCell::new(vec![0; PAGE_BYTES]),
            noise: Cell::new(noise | 1),
            indices_end,
        }
    }

    /// Lets the other side put a new packet there.
    fn renew(&self, offset: usize) {
        self.reads.borrow_mut()[offset..offset + PACKET_BYTES].fill(0);
    }

    fn byte(&self) -> u8 {
        let noise = self.noise.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.noise.set(noise);
        noise.to_be_bytes()[0]
    }
}

impl SharedMemory for Restless {
    fn len(&self) -> usize {
        PAGE_BYTES
    }

    fn load_acquire(&self, offset: usize) -> u32 {
        assert!(offset < self.indices_end, "a packet is copied, not looked at word by word");
        self.words.borrow()[offset / 4]
    }

    fn store_release(&self, offset: usize, value: u32) {
        assert!(offset < self.indices_end);
        self.words.borrow_mut()[offset / 4] = value;
    }

    fn full_fence(&self) {}

    fn read(&self, offset: usize, into: &mut [u8]) -> bool {
        assert!(offset >= self.indices_end && offset + into.len() <= PAGE_BYTES);
        for count in &mut self.reads.borrow_mut()[offset..offset + into.len()] {
            *count += 1;
            assert_eq!(*count, 1, "bytes of one packet were read twice");
        }
        into.fill_with(|| self.byte());
        true
    }

    fn write(&self, offset: usize, from: &[u8]) -> bool {
        assert!(offset >= self.indices_end && offset + from.len() <= PAGE_BYTES);
        true
    }
}

fn slot(index: u32, slots: u32) -> usize {
    SLOTS_OFFSET + (index % slots) as usize * PACKET_BYTES
}

proptest! {
    #[test]
    fn xsa_155_requests_are_read_once(noise: u32) {
        let page = Restless::new(SLOTS_OFFSET, noise);
        let mut back = BackRing::new(&page);
        for index in 0..100_u32 {
            page.renew(slot(index, 32));
            page.store_release(0, index + 1);
            prop_assert!(back.arm(1));
            let packet = back.take().unwrap().unwrap();
            // The copy may be parsed any number of times, always with the same result.
            let request = Request::parse(&packet);
            prop_assert_eq!(request, Request::parse(&packet));
            let answer = match request {
                Ok(request) => Response { id: request.id, opcode: packet[2], result: Ok(()), params: None },
                Err(bad) => Response { id: bad.id, opcode: bad.opcode, result: Err(bad.errno), params: None },
            };
            prop_assert!(back.respond(&answer.emit()));
            let _ = back.publish();
            prop_assert_eq!(back.take(), Ok(None));
        }
    }

    #[test]
    fn xsa_155_responses_are_read_once(noise: u32) {
        let page = Restless::new(SLOTS_OFFSET, noise);
        let mut front = FrontRing::new(&page);
        for index in 0..100_u32 {
            front.put(&[0; PACKET_BYTES]).unwrap();
            let _ = front.publish();
            page.renew(slot(index, 32));
            page.store_release(8, index + 1);
            prop_assert!(front.arm(1));
            let packet = front.take().unwrap().unwrap();
            prop_assert_eq!(Response::parse(&packet), Response::parse(&packet));
            prop_assert_eq!(front.take(), Ok(None));
        }
    }

    #[test]
    fn xsa_155_events_are_read_once(noise: u32) {
        let page = Restless::new(SLOTS_OFFSET, noise);
        let mut consumer = EventConsumer::new(&page);
        for index in 0..200_u32 {
            page.renew(slot(index, 63));
            page.store_release(4, index + 1);
            let packet = consumer.take().unwrap().unwrap();
            prop_assert_eq!(Event::parse(&packet), Event::parse(&packet));
            prop_assert_eq!(consumer.take(), Ok(None));
            consumer.confirm();
        }
    }

    /// The walk asks for a copy of each page and is given noise. It never asks for the same page again, so the caller
    /// may map, copy and forget each page.
    #[test]
    fn page_directory_pages_are_read_once(noise: u32, pages in 1..5000_usize) {
        let buffer_bytes = u32::try_from(pages * PAGE_BYTES).unwrap();
        let (mut walk, mut step) = DirectoryWalk::new(GrantRef(7), buffer_bytes).unwrap();
        let mut seen = Vec::new();
        while let DirectoryStep::Page(page) = step {
            prop_assert!(!seen.contains(&page));
            seen.push(page);
            prop_assert!(seen.len() <= pages_for(buffer_bytes).div_ceil(DIRECTORY_REFS));
            let memory = Restless::new(0, noise.wrapping_add(page.0));
            let mut copy = [0; PAGE_BYTES];
            prop_assert!(memory.read(0, &mut copy));
            match walk.page(&copy, |_| {}) {
                Ok(next) => step = next,
                Err(_) => break,
            }
        }
    }
}

#[test]
#[should_panic(expected = "read twice")]
fn the_double_notices_a_second_read() {
    let page = Restless::new(SLOTS_OFFSET, 1);
    let mut packet = [0; PACKET_BYTES];
    page.read(SLOTS_OFFSET, &mut packet);
    page.read(SLOTS_OFFSET + 8, &mut packet[..4]);
}
