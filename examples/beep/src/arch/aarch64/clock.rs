//! The time.
//!
//! [`poll`](crate::hypercall::poll) takes a moment of Xen's own time, which guests on Arm cannot read. A guest reads a counter of its
//! own, which runs alike and was zero at another moment. The distance between the two follows from the moment at which Xen last let
//! this processor run, which Xen writes into a page: the present is never before that moment, and just after it when the processor
//! has slept. By the counter alone each moment would lie in Xen's past, and each sleep would end at once.
#![expect(unsafe_code, reason = "a hypercall, and the counter's registers")]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use sndif::SharedMemory;

use super::call;
use crate::error::Result;
use crate::events::SECOND_NS;
use crate::hypercall;
use crate::memory::Page;

/// `struct vcpu_runstate_info`.
static RUN_STATE: Page = Page::zeroed();

/// Offset of the moment since which this processor has been running.
const SINCE_NS: usize = 8;

/// Nanoseconds that Xen's time is ahead of the counter, at least.
static AHEAD_NS: AtomicU64 = AtomicU64::new(0);

/// Has Xen write the moment.
pub fn prepare() -> Result<()> {
    const VCPU_OP: usize = 24;
    const REGISTER_RUNSTATE_MEMORY_AREA: usize = 5;
    const PROCESSOR: usize = 0;
    let mut area = RUN_STATE.frame().address();
    let arguments = [REGISTER_RUNSTATE_MEMORY_AREA, PROCESSOR, (&raw mut area).expose_provenance()];
    // SAFETY: Xen was found. The last argument is a structure of one word, the address of memory that Xen may change from now on.
    hypercall::done("VCPUOP_register_runstate_memory_area", unsafe { call(VCPU_OP, arguments) })
}

/// Nanoseconds since this host was started, or a little less before this processor has slept.
pub fn now_ns() -> u64 {
    // In this order: an earlier counter with a later moment would be too great a distance.
    let since_ns = since_ns();
    let counter_ns = counter_ns();
    let ahead_ns = since_ns.saturating_sub(counter_ns);
    counter_ns + ahead_ns.max(AHEAD_NS.fetch_max(ahead_ns, Ordering::Relaxed))
}

/// The moment, which changes between two instructions where Xen lets another processor run in between.
fn since_ns() -> u64 {
    let page = RUN_STATE.shared();
    loop {
        let high = page.load_acquire(SINCE_NS + 4);
        let low = page.load_acquire(SINCE_NS);
        if high == page.load_acquire(SINCE_NS + 4) {
            return u64::from(high) << 32 | u64::from(low);
        }
    }
}

fn counter_ns() -> u64 {
    let (counter, rate_hz): (u64, u64);
    // SAFETY: every processor of 64 bits has these registers, and Xen lets guests read them.
    unsafe {
        asm!(
            "isb",
            "mrs {counter}, cntvct_el0",
            "mrs {rate_hz}, cntfrq_el0",
            counter = out(reg) counter,
            rate_hz = out(reg) rate_hz,
            options(nostack, preserves_flags),
        );
    }
    counter / rate_hz * SECOND_NS + counter % rate_hz * SECOND_NS / rate_hz
}
