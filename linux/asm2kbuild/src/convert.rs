// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The conversion of a whole file, line by line, as far as it is the same for every machine.
//!
//! Sections are folded, data for debuggers and unwinders is dropped, and directives that are not in our lists are
//! refused. A [`Machine`] converts functions and instructions.

use std::collections::HashSet;
use std::fmt::Write;

use crate::asm::Line;
use crate::sections::{Section, section};

/// Maximum size of a stack frame. The kernel's stacks have 16 KiB; its own compiler warns above CONFIG_FRAME_WARN, by
/// default 2048 bytes.
pub(crate) const FRAME_MAX: u32 = 1024;

pub(crate) const FRAME_TOO_LARGE: &str = "stack frame above 1024 bytes";

const TITLE: &str = "/* Made by asm2kbuild from rustc's assembly. */\n";

const EPILOGUE: &str = "\t.section\t.note.GNU-stack,\"\",@progbits\n";

/// Directives that are copied unchanged.
const KEPT: [&str; 14] = [
    ".text", ".data", ".bss", ".globl", ".hidden", ".weak", ".type", ".size", ".p2align", ".set", ".byte", ".zero",
    ".ascii", ".asciz",
];

/// Directives for debuggers and unwinders; the kernel has its own ways to unwind.
const DROPPED: [&str; 5] = [".file", ".loc", ".ident", ".addrsig", ".addrsig_sym"];

/// The parts of the conversion that depend on the architecture.
pub(crate) trait Machine<'a> {
    /// Start of a comment.
    const COMMENT: &'static str;
    /// Text before the converted lines: included headers, and macros.
    const PROLOGUE: &'static str;
    /// Directives for numbers, beside `.byte`.
    const NUMBERS: [&'static str; 3];

    fn new(lines: &[Line<'a>]) -> Self;

    /// Returns true if the line is left out, because [`new`](Self::new) has read it.
    fn leaves_out(&mut self, line: &Line<'_>) -> bool;

    /// Writes a label; `function` says that it is a function's.
    fn label(&mut self, label: &str, function: bool, out: &mut String);

    /// Writes an instruction, or the kernel's replacement for it.
    fn instruction(&mut self, mnemonic: &str, operands: &str, out: &mut String) -> Result<(), &'static str>;
}

/// Converts rustc's assembly of one module.
///
/// # Errors
/// A message for the first line that is not known.
pub(crate) fn convert<'a, M: Machine<'a>>(source: &'a str) -> Result<String, String> {
    let lines: Vec<Line<'_>> = source.lines().map(|line| Line::parse(line, M::COMMENT)).collect();
    let mut converter = Converter {
        functions: functions(&lines),
        machine: M::new(&lines),
        out: format!("{TITLE}{}", M::PROLOGUE),
        skipping: false,
    };
    for (number, line) in lines.iter().enumerate() {
        converter.line(line).map_err(|error| format!("line {}: {error}: {line:?}", number + 1))?;
    }
    converter.out.push_str(EPILOGUE);
    Ok(converter.out)
}

fn functions<'a>(lines: &[Line<'a>]) -> HashSet<&'a str> {
    let typed = lines.iter().filter_map(|line| match *line {
        Line::Directive { name: ".type", arguments } => arguments.strip_suffix(",@function"),
        _ => None,
    });
    typed.collect()
}

struct Converter<'a, M> {
    functions: HashSet<&'a str>,
    machine: M,
    out: String,
    /// True in a section that is dropped.
    skipping: bool,
}

impl<'a, M: Machine<'a>> Converter<'a, M> {
    fn line(&mut self, line: &Line<'_>) -> Result<(), &'static str> {
        if self.machine.leaves_out(line) {
            return Ok(());
        }
        match *line {
            Line::Blank => Ok(()),
            Line::Label(label) => {
                if !self.skipping {
                    self.machine.label(label, self.functions.contains(label), &mut self.out);
                }
                Ok(())
            }
            Line::Directive { name, arguments } => self.directive(name, arguments),
            Line::Instruction { mnemonic, operands } => self.machine.instruction(mnemonic, operands, &mut self.out),
        }
    }

    fn directive(&mut self, name: &str, arguments: &str) -> Result<(), &'static str> {
        if name == ".section" {
            self.skipping = match section(arguments).ok_or("unknown section")? {
                Section::Drop => true,
                Section::Keep(into) => {
                    let _ = writeln!(self.out, "\t.section\t{into}");
                    false
                }
            };
            return Ok(());
        }
        if [".text", ".data", ".bss"].contains(&name) {
            self.skipping = false;
        }
        if self.skipping || DROPPED.contains(&name) || name.starts_with(".cfi_") {
            return Ok(());
        }
        if !KEPT.contains(&name) && !M::NUMBERS.contains(&name) {
            return Err("unknown directive");
        }
        if arguments.contains("@GOT") {
            return Err("reference to the GOT");
        }
        let _ = writeln!(self.out, "\t{name}\t{arguments}");
        Ok(())
    }
}

/// Converts `source` and returns the converted lines alone, for tests of a machine.
#[cfg(test)]
pub(crate) fn body<'a, M: Machine<'a>>(source: &'a str) -> String {
    let converted = convert::<M>(source).unwrap();
    let lines = converted.strip_prefix(TITLE).unwrap().strip_prefix(M::PROLOGUE).unwrap();
    lines.strip_suffix(EPILOGUE).unwrap().into()
}
