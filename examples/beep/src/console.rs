//! The console: what `xl console` shows.
//!
//! Source: `struct xencons_interface` in `xen/include/public/io/console.h` of the Xen project.

use core::fmt;

use sndif::SharedMemory;

use crate::error::{Error, Result};
use crate::events::{self, SECOND_NS};
use crate::hypercall::{self, Port, Ring};
use crate::memory::Shared;

const OUT: usize = 1024;
const OUT_BYTES: u32 = 2048;
const OUT_CONSUMED: usize = 3080;
const OUT_PRODUCED: usize = 3084;

/// A line on the console.
#[macro_export]
macro_rules! say {
    ($($arguments:tt)*) => { $crate::console::line(format_args!($($arguments)*)) };
}

/// Writes a line. Where there is no console, or nobody who reads it, there is nobody who would miss it.
pub fn line(text: fmt::Arguments<'_>) {
    if let Ok(mut console) = Console::new() {
        let _ = fmt::write(&mut console, format_args!("beep: {text}\n"));
        let _ = hypercall::send(console.port);
    }
}

/// Waits until everything was read.
pub fn flush() {
    if let Ok(console) = Console::new() {
        let _ = console.wait_until(|used| used == 0);
    }
}

struct Console {
    ring: Shared,
    port: Port,
}

impl Console {
    /// Asks Xen where the console is, for each line: so there is nothing to keep, and a panic can write, too.
    fn new() -> Result<Self> {
        Ok(Self { ring: Shared::of_ring(Ring::Console)?, port: hypercall::ring_port(Ring::Console)? })
    }

    fn used(&self) -> u32 {
        self.ring.load_acquire(OUT_PRODUCED).wrapping_sub(self.ring.load_acquire(OUT_CONSUMED))
    }

    /// Waits for a second at most until so much of the ring is used that it is enough.
    fn wait_until(&self, enough: impl Fn(u32) -> bool) -> Result<()> {
        let until_ns = events::now_ns() + SECOND_NS;
        while !enough(self.used()) {
            events::take(self.port);
            hypercall::send(self.port)?;
            if !enough(self.used()) && !events::wait(&[self.port], until_ns)? {
                return Err(Error::Timeout("the console"));
            }
        }
        Ok(())
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.wait_until(|used| used < OUT_BYTES).map_err(|_| fmt::Error)?;
            let produced = self.ring.load_acquire(OUT_PRODUCED);
            self.ring.write(OUT + (produced % OUT_BYTES) as usize, &[byte]);
            self.ring.store_release(OUT_PRODUCED, produced.wrapping_add(1));
        }
        Ok(())
    }
}
