//! Text for people without `core::fmt`, which would be the largest part of libcore in a kernel module.
//!
//! Every text that a kernel module shows implements [`Say`]; its `Display` writes the same ([`display`]).

use core::fmt;

/// Receiver of text, piece by piece.
pub trait Sink {
    /// Takes a piece.
    fn text(&mut self, text: &str);
}

/// A value that has a text without `core::fmt`.
pub trait Say {
    /// Writes the text to `out`.
    fn say(&self, out: &mut dyn Sink);
}

/// Writes the texts of all values.
// Not inlined, like the function for digits: every text calls it.
#[inline(never)]
pub fn say(out: &mut dyn Sink, all: &[&dyn Say]) {
    all.iter().for_each(|each| each.say(out));
}

impl Say for &str {
    fn say(&self, out: &mut dyn Sink) {
        out.text(self);
    }
}

/// Maximum number of digits: 64 bits have 20 decimal ones.
const DIGITS_MAX: usize = 20;

#[inline(never)]
fn digits<const BASE: u64>(number: u64, out: &mut dyn Sink) {
    let mut digits = [0; DIGITS_MAX];
    let (mut rest, mut length) = (number, 0_usize);
    for place in digits.iter_mut().rev() {
        let digit = rest.checked_rem(BASE).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
        *place = if digit < 10 { b'0'.wrapping_add(digit) } else { b'a'.wrapping_add(digit.wrapping_sub(10)) };
        length = length.saturating_add(1);
        rest = rest.checked_div(BASE).unwrap_or(0);
        if rest == 0 {
            break;
        }
    }
    let digits = digits.get(DIGITS_MAX.saturating_sub(length)..).unwrap_or(&[]);
    out.text(core::str::from_utf8(digits).unwrap_or(""));
}

impl Say for u64 {
    fn say(&self, out: &mut dyn Sink) {
        digits::<10>(*self, out);
    }
}

macro_rules! unsigned {
    ($($type:ty),*) => { $(
        impl Say for $type {
            fn say(&self, out: &mut dyn Sink) {
                u64::try_from(*self).unwrap_or(u64::MAX).say(out);
            }
        }
    )* };
}

unsigned!(u8, u16, u32, usize);

impl Say for i32 {
    fn say(&self, out: &mut dyn Sink) {
        if *self < 0 {
            out.text("-");
        }
        self.unsigned_abs().say(out);
    }
}

/// A number in hexadecimal, after `0x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hex(pub u64);

impl Say for Hex {
    fn say(&self, out: &mut dyn Sink) {
        out.text("0x");
        digits::<16>(self.0, out);
    }
}

/// A text sink that writes to a writer of `core::fmt`.
pub struct Writer<'a> {
    out: &'a mut dyn fmt::Write,
    result: fmt::Result,
}

impl<'a> Writer<'a> {
    /// Makes a writer that passes text on to `out`, up to its first error.
    pub fn new(out: &'a mut dyn fmt::Write) -> Self {
        Self { out, result: Ok(()) }
    }
}

impl Sink for Writer<'_> {
    fn text(&mut self, text: &str) {
        self.result = self.result.and_then(|()| self.out.write_str(text));
    }
}

/// Implements `Display` for a value with [`Say`].
///
/// # Errors
/// Errors of the formatter.
pub fn display(what: &dyn Say, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut writer = Writer::new(f);
    what.say(&mut writer);
    writer.result
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    fn said(all: &[&dyn Say]) -> String {
        let mut text = String::new();
        say(&mut Writer::new(&mut text), all);
        text
    }

    #[test]
    fn numbers_are_said_as_core_fmt_formats_them() {
        for number in [0, 9, 10, 15, 16, 255, 4096, 65_535, 99_999, u64::from(u32::MAX), 1 << 63, u64::MAX] {
            assert_eq!(said(&[&number]), std::format!("{number}"));
            assert_eq!(said(&[&Hex(number)]), std::format!("{number:#x}"));
        }
        for number in [0, 1, -1, i32::MAX, i32::MIN] {
            assert_eq!(said(&[&number]), std::format!("{number}"));
        }
        assert_eq!(said(&[&"a", &1_u8, &" ", &2_u16, &3_u32, &4_usize]), "a1 234");
    }

    #[test]
    fn an_error_of_the_formatter_is_not_lost() {
        struct Full(usize);
        impl fmt::Write for Full {
            fn write_str(&mut self, _: &str) -> fmt::Result {
                self.0 = self.0.checked_sub(1).ok_or(fmt::Error)?;
                Ok(())
            }
        }
        struct Twice;
        impl Say for Twice {
            fn say(&self, out: &mut dyn Sink) {
                say(out, &[&"once", &"twice"]);
            }
        }
        impl fmt::Display for Twice {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                display(self, f)
            }
        }
        assert_eq!(fmt::write(&mut Full(1), format_args!("{Twice}")), Err(fmt::Error));
        assert_eq!(fmt::write(&mut Full(2), format_args!("{Twice}")), Ok(()));
    }
}
