// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Makes rustc's assembly (standard input) into a `.S` file that Kbuild assembles (standard output).
//!
//! A kernel decides by configuration how a function is entered, how it returns and how it calls through a pointer; stable
//! rustc has no flags for that, but the kernel has macros. So what the compiler wrote is written once more, with the
//! kernel's macros, and one file serves every x86-64 kernel. What this program does not know it refuses.

mod asm;
mod convert;
mod sections;
mod tables;

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
    let converted = convert::convert(&source)?;
    io::stdout().write_all(converted.as_bytes()).map_err(|error| format!("standard output: {error}"))
}
