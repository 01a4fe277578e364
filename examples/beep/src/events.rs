//! Event channels, whose state stands in a page of Xen's, and the time.
//!
//! Interrupts stay off. A channel that is notified becomes *pending*, a bit in that page; who waits for it lets Xen put the domain
//! to sleep until then. A bit is cleared before the ring that it belongs to is looked at, so nothing that comes later is missed.
//!
//! Source: `struct shared_info` in `xen/include/public/xen.h` of the Xen project, 64-bit layout.

use sndif::SharedMemory;

use crate::arch::PENDING;
use crate::error::Result;
use crate::hypercall::{self, Port, Space};
use crate::memory::{Page, Shared};

pub use crate::arch::now_ns;

/// Nanoseconds of a second.
pub const SECOND_NS: u64 = 1_000_000_000;

static SHARED_INFO: Page = Page::zeroed();

/// Has Xen put its page in place; to be called before all else here.
pub fn prepare() -> Result<()> {
    hypercall::map(Space::SharedInfo, shared_info())
}

/// The page, where some architectures have the time, too.
pub fn shared_info() -> Shared {
    SHARED_INFO.shared()
}

/// Returns true if the channel was notified since the last call.
pub fn take(port: Port) -> bool {
    let (word, bit) = (port.0 / 32, port.0 % 32);
    shared_info().clear_bits(PENDING + word as usize * 4, 1 << bit) != 0
}

/// Sleeps until one of the channels is pending, which the caller then [takes](take); `false` where none was until `until_ns`.
pub fn wait(ports: &[Port], until_ns: u64) -> Result<bool> {
    let page = shared_info();
    let pending = |port: &Port| page.load_acquire(PENDING + (port.0 / 32) as usize * 4) & 1 << (port.0 % 32) != 0;
    while !ports.iter().any(pending) {
        if now_ns() >= until_ns {
            return Ok(false);
        }
        hypercall::poll(ports, until_ns)?;
    }
    Ok(true)
}
