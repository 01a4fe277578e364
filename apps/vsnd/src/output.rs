//! Standard output: written immediately, with one way to end if it cannot be written.

use std::fmt;
use std::io::{self, Write};

use program::{ExitStatus, Failure};
use serde::Serialize;

/// Standard output. Each line is written immediately, so that a program that reads the lines gets them in time. A
/// reader that has seen enough (`| head`) ends the command quietly, with success.
#[derive(Debug)]
pub(crate) struct Output(io::Stdout);

impl Output {
    pub(crate) fn new() -> Self {
        Self(io::stdout())
    }

    /// Writes text as a line, or as several.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Writes `value` as one line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        self.line(serde_json::to_string(value).map_err(Failure::with(ExitStatus::Failure))?)
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = self.0.lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| program::no_output(&error))
    }
}
