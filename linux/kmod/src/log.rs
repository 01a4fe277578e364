// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The kernel's log, for what happens seldom.

use core::fmt;

use crate::ffi;

/// Text in octets that are there; what is longer is cut off.
pub(crate) struct Cursor<'a> {
    octets: &'a mut [u8],
    pub(crate) len: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(octets: &'a mut [u8]) -> Self {
        Self { octets, len: 0 }
    }
}

impl fmt::Write for Cursor<'_> {
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

/// Something that is wrong, in one line; limited in rate, since a backend can cause it.
pub(crate) fn problem(arguments: fmt::Arguments<'_>) {
    let mut octets = [0; 160];
    let mut line = Cursor::new(&mut octets);
    let _ = fmt::write(&mut line, arguments);
    let len = line.len;
    // SAFETY: `len` octets of the line are written.
    unsafe { ffi::vsnd_log(octets.as_ptr(), len) }
}
