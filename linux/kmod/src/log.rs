// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The kernel's log, for what happens seldom.

use core::fmt;

use crate::ffi;

/// One line; what is longer is cut off.
struct Line {
    octets: [u8; 160],
    len: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for octet in text.bytes() {
            if let Some(place) = self.octets.get_mut(self.len) {
                *place = octet;
                self.len = self.len.saturating_add(1);
            }
        }
        Ok(())
    }
}

/// Something that is wrong; limited in rate, since a backend can cause it.
pub(crate) fn problem(arguments: fmt::Arguments<'_>) {
    let mut line = Line { octets: [0; 160], len: 0 };
    let _ = fmt::write(&mut line, arguments);
    // SAFETY: `len` octets of the line are written.
    unsafe { ffi::vsnd_log(line.octets.as_ptr(), line.len) }
}
