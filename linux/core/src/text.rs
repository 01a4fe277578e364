// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Short text without allocation: paths and names.

use core::fmt;

use sndif::text::{Say, Sink, say};

/// Maximum number of bytes in a [`Text`]: the longest name of the protocol.
pub const TEXT_MAX_LEN: usize = 80;

/// Text of at most [`TEXT_MAX_LEN`] bytes; longer text is cut off.
#[derive(Clone, Copy)]
pub struct Text {
    bytes: [u8; TEXT_MAX_LEN],
    len: usize,
}

impl Text {
    /// Empty text.
    pub const EMPTY: Self = Self { bytes: [0; TEXT_MAX_LEN], len: 0 };

    /// Joins the texts of all values.
    #[must_use]
    #[inline(never)]
    pub fn of(all: &[&dyn Say]) -> Self {
        let mut text = Self::EMPTY;
        say(&mut text, all);
        text
    }

    /// Makes a name for people: printable ASCII of `bytes`, anything else as `?`.
    #[must_use]
    pub fn name(bytes: &[u8]) -> Self {
        let mut text = Self::EMPTY;
        for &byte in bytes {
            text.push(if matches!(byte, b' '..=b'~') { byte } else { b'?' });
        }
        text
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.bytes()).unwrap_or("")
    }

    /// Returns the bytes of the text.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// Returns true if the text is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len = self.len.saturating_add(1);
        }
    }
}

impl Sink for Text {
    fn text(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.push(byte));
    }
}

impl Say for Text {
    fn say(&self, out: &mut dyn Sink) {
        out.text(self.as_str());
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_values_text_is_cut_off_and_a_hostile_name_is_harmless() {
        assert_eq!(Text::of(&[&1_u8, &"/", &20_u8]).as_str(), "1/20");
        assert_eq!(Text::name(b"a\x1b[2J\n\xffz").as_str(), "a?[2J??z");
        assert_eq!(Text::name(&[b'x'; 200]).as_str().len(), TEXT_MAX_LEN);
    }
}
