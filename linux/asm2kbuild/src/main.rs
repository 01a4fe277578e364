// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Converts rustc's assembly (standard input) for `x86` or `arm64`, in the kernel's names, into a `.S` file that Kbuild
//! assembles (standard output).
//!
//! A kernel's configuration decides how a function is entered, how it returns and how it calls through a pointer.
//! Stable rustc has no flags for that, but the kernel has macros. So this program rewrites the compiler's output with
//! the kernel's macros, and one file serves every kernel of an architecture. Unknown input is refused.

mod arm64;
mod asm;
mod convert;
mod sections;
mod tables;
mod x86;

use std::io::{self, Read, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("asm2kbuild: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut source = String::new();
    io::stdin().read_to_string(&mut source).map_err(|error| format!("standard input: {error}"))?;
    let converted = match std::env::args().nth(1).as_deref() {
        Some("x86") => convert::convert::<x86::X86<'_>>(&source)?,
        Some("arm64") => convert::convert::<arm64::Arm64>(&source)?,
        _ => return Err("usage: vsnd-asm2kbuild x86|arm64".into()),
    };
    io::stdout().write_all(converted.as_bytes()).map_err(|error| format!("standard output: {error}"))
}
