//! Event channels and the time, which both stand in a page of Xen's.
//!
//! Interrupts stay off. A channel that is notified becomes *pending*, a bit in that page; who waits for it lets Xen put the domain
//! to sleep until then. A bit is cleared before the ring that it belongs to is looked at, so nothing that comes later is missed.
//!
//! Source: `struct shared_info` and `struct vcpu_time_info` in `xen/include/public/xen.h` of the Xen project, 64-bit layout.

use sndif::SharedMemory;

use crate::error::Result;
use crate::hypercall::{self, Port, Space};
use crate::memory::Page;

/// Nanoseconds of a second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// Offset of the bits of pending channels in the page.
const PENDING: usize = 2048;

/// The time of the first processor, as Xen last wrote it.
mod time {
    pub const VERSION: usize = 32;
    pub const COUNTER: usize = 40;
    pub const SYSTEM_NS: usize = 48;
    pub const MULTIPLIER: usize = 56;
    pub const SHIFT: usize = 60;
}

static SHARED_INFO: Page = Page::zeroed();

/// Has Xen put its page in place; to be called before all else here.
pub fn prepare() -> Result<()> {
    hypercall::map(Space::SharedInfo, &SHARED_INFO)
}

/// Nanoseconds since this host was started.
pub fn now_ns() -> u64 {
    let page = SHARED_INFO.shared();
    let long = |offset| u64::from(page.load_acquire(offset)) | u64::from(page.load_acquire(offset + 4)) << 32;
    loop {
        // Odd while Xen writes, and another one behind that.
        let version = page.load_acquire(time::VERSION);
        let (counter, system_ns) = (long(time::COUNTER), long(time::SYSTEM_NS));
        let multiplier = page.load_acquire(time::MULTIPLIER);
        let [shift, ..] = page.load_acquire(time::SHIFT).to_le_bytes();
        let since = u128::from(hypercall::counter().saturating_sub(counter));
        page.full_fence();
        if version.is_multiple_of(2) && version == page.load_acquire(time::VERSION) {
            let shift = i32::from(shift.cast_signed());
            let scaled = if shift < 0 { since >> shift.unsigned_abs() } else { since << shift };
            return system_ns + ((scaled * u128::from(multiplier)) >> 32) as u64;
        }
    }
}

/// Returns true if the channel was notified since the last call.
pub fn take(port: Port) -> bool {
    let (word, bit) = (port.0 / 32, port.0 % 32);
    SHARED_INFO.shared().clear_bits(PENDING + word as usize * 4, 1 << bit) != 0
}

/// Sleeps until one of the channels is pending, which the caller then [takes](take); `false` where none was until `until_ns`.
pub fn wait(ports: &[Port], until_ns: u64) -> Result<bool> {
    let page = SHARED_INFO.shared();
    let pending = |port: &Port| page.load_acquire(PENDING + (port.0 / 32) as usize * 4) & 1 << (port.0 % 32) != 0;
    while !ports.iter().any(pending) {
        if now_ns() >= until_ns {
            return Ok(false);
        }
        hypercall::poll(ports, until_ns)?;
    }
    Ok(true)
}
