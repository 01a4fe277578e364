// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The kernel's log, for rare problems.

use sndif::text::{Say, Sink, say};

use crate::ffi;

/// Text in a given buffer; longer text is cut off.
pub(crate) struct Cursor<'a> {
    bytes: &'a mut [u8],
    pub(crate) len: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, len: 0 }
    }
}

impl Sink for Cursor<'_> {
    fn text(&mut self, text: &str) {
        for byte in text.bytes() {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = byte;
                self.len = self.len.saturating_add(1);
            }
        }
    }
}

/// Logs a problem in one line; limited in rate, since a backend can cause it.
pub(crate) fn problem(words: &[&dyn Say]) {
    let mut bytes = [0; 160];
    let mut line = Cursor::new(&mut bytes);
    say(&mut line, words);
    let len = line.len;
    // SAFETY: `len` bytes of the line are written.
    unsafe { ffi::vsnd_log(bytes.as_ptr(), len) }
}
