// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The kernel's log, for what happens seldom.

use sndif::text::{Say, Sink, say};

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

impl Sink for Cursor<'_> {
    fn text(&mut self, text: &str) {
        for octet in text.bytes() {
            if let Some(place) = self.octets.get_mut(self.len) {
                *place = octet;
                self.len = self.len.saturating_add(1);
            }
        }
    }
}

/// Something that is wrong, in one line; limited in rate, since a backend can cause it.
pub(crate) fn problem(words: &[&dyn Say]) {
    let mut octets = [0; 160];
    let mut line = Cursor::new(&mut octets);
    say(&mut line, words);
    let len = line.len;
    // SAFETY: `len` octets of the line are written.
    unsafe { ffi::vsnd_log(octets.as_ptr(), len) }
}
