//! A host without memory: OPEN is refused, in either protocol, and nothing else happens.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use backend::{DeviceLimits, Frames, HostLimits, Offer, Outcome, StreamConfig, v0};
use sndif::store::{Direction, Limits};
use sndif::test_utils::Pages;
use sndif::v2::{OpenParams, Operation, Request};
use sndif::{Errno, Format, GrantRef};

thread_local! {
    /// Allocations of more than this many bytes fail.
    static LARGEST: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The system's allocator, which refuses allocations that are too large.
struct Scarce;

// SAFETY: memory comes from the system's allocator, whose blocks fit their layout and stay where they are until they are
// given back to it; an allocation may fail. Nothing here unwinds, and the thread-local has no destructor and allocates
// nothing.
unsafe impl GlobalAlloc for Scarce {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST.get() {
            return std::ptr::null_mut();
        }
        // SAFETY: the size of `layout` is not 0, as the caller of this `alloc` guarantees.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `memory` came from `System`, by `alloc` above, with this layout, as the caller guarantees; and it is not
        // used any more.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Scarce = Scarce;

/// Runs `act` without memory for allocations of 4 KiB or more.
fn without_memory<R>(act: impl FnOnce() -> R) -> R {
    LARGEST.set(4095);
    let result = act();
    LARGEST.set(usize::MAX);
    result
}

fn open(id: u16, frames: u32) -> Request {
    let params = OpenParams {
        rate_hz: 48_000,
        format: Format::S16Le,
        channels: 2,
        buffer_bytes: frames * 4,
        directory: GrantRef(9),
        period_bytes: 0,
    };
    Request { id, operation: Operation::Open(params) }
}

#[test]
fn an_open_without_memory_is_answered_with_enomem() {
    let offer =
        Offer { store: Limits::DEFAULT, device: DeviceLimits::ANY, host: HostLimits::default(), control_bytes: 0 };
    let mut stream = backend::Stream::<Pages>::new(StreamConfig {
        direction: Direction::Playback,
        offer,
        permitted: true,
        write_hold_off: false,
    });
    let outcome = without_memory(|| stream.request(&open(1, 1024), 0));
    let Outcome::Respond(response) = outcome else { panic!("{outcome:?}") };
    assert_eq!((response.id, response.result), (1, Err(Errno::ENOMEM)));
    assert_eq!(stream.take_refusal().map(|refusal| refusal.errno), Some(Errno::ENOMEM));
    // A small stream still opens, and completing an OPEN needs no memory of a size that the guest chooses.
    let Outcome::Open(geometry, _) = without_memory(|| stream.request(&open(2, 512), 0)) else { panic!("refused") };
    let memory = Pages::of_bytes(2048);
    without_memory(|| stream.opened(geometry, memory, backend::Pace::Clock, |mirror| mirror.fill(0)));
    assert_eq!(stream.geometry().map(|geometry| geometry.ring_bytes), Some(2048));
    assert!(matches!(stream.request(&open(3, 1024), 0), Outcome::Open(..)), "and with memory, all of it");
}

#[test]
fn a_v0_open_without_memory_is_refused() {
    let config = v0::StreamConfig {
        direction: Some(Direction::Playback),
        playback: Some(DeviceLimits::ANY),
        capture: None,
        lead_bytes_max: 1 << 22,
    };
    let mut stream = v0::Stream::new(config);
    let params = sndif::v0::OpenParams { format: Format::S16Le, channels: 2, rate_hz: 48_000 };
    let request = sndif::v0::Request { id: 7, operation: sndif::v0::Operation::Open(params) };
    let outcome = without_memory(|| stream.request(&request, 0));
    let v0::Outcome::Refuse(response, reason) = outcome else { panic!("{outcome:?}") };
    assert!(!response.success && response.id == 7 && reason.contains("memory"), "{reason}");
    assert!(stream.geometry().is_none());
    assert!(matches!(stream.request(&request, 0), v0::Outcome::Open(..)));
    without_memory(|| stream.start(Direction::Playback, backend::Pace::Clock, 0));
    assert!(stream.direction().is_some());
}
