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

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; counting touches a
// thread-local without destructor and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: the caller keeps `alloc`'s contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: the caller keeps `dealloc`'s contract, and `memory` came from `System`.
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
    let mut playback = card.open(0, 0, &CONFIG).unwrap();
    let mut capture = card.open(0, 1, &CONFIG).unwrap();
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
