//! Test that a running stream neither allocates nor frees.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{CONFIG, DUPLEX, Faults, PERIOD, RING, TIMEOUT, machine};

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting the calls of each thread.
struct Counting;

// SAFETY: memory comes from the system's allocator, whose blocks fit their layout and stay where they are until they are
// given back to it. Nothing here unwinds, and the thread-local has no destructor and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: the size of `layout` is not 0, as the caller of this `alloc` guarantees.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: `memory` came from `System`, by `alloc` above, with this layout, as the caller guarantees; and it is not
        // used any more.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn playing_and_recording_allocate_nothing() {
    let machine = machine();
    machine.attach(DUPLEX);
    let _backend = machine.backend(Faults { speed: 4, ..Faults::default() });
    let card = machine.connect(TIMEOUT).unwrap();
    let mut playback = card.playback(0, 0, &CONFIG).unwrap();
    let mut capture = card.capture(0, 1, &CONFIG).unwrap();
    let mut period = vec![0; PERIOD];
    playback.write(&vec![0; RING]).unwrap();
    capture.read(&mut period).unwrap();
    let before = CALLS.get();
    for _ in 0..50 {
        playback.write(&period).unwrap();
        capture.read(&mut period).unwrap();
    }
    assert_eq!(CALLS.get() - before, 0);
}
