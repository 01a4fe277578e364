// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The conversion of a whole file, line by line.
//!
//! | rustc writes | the kernel gets |
//! |---|---|
//! | a function's label | padding for call depth tracking, the label, `ENDBR` |
//! | `retq` | `RET` (return thunks, straight-line speculation) |
//! | a call or jump through a pointer | `CALL_NOSPEC`, `JMP_NOSPEC` (retpolines) |
//! | a jump table | a chain of comparisons |
//! | `symbol@GOTPCREL(%rip)` | the symbol itself: the module loader has no GOT |
//!
//! Refused: registers of the FPU, segment registers, stack frames above [`FRAME_MAX`], the red zone, and every directive
//! or section that is not in our lists.

use std::collections::HashSet;
use std::fmt::Write;

use crate::asm::Line;
use crate::sections::{Section, section};
use crate::tables::{JumpTables, PREFIX as TABLE_PREFIX};

/// The kernel's stacks have 16 KiB; its own compiler warns at this size of a frame (CONFIG_FRAME_WARN).
const FRAME_MAX: u32 = 1024;

const PROLOGUE: &str = "\
/* Made by asm2kbuild from rustc's assembly. */
#include <linux/linkage.h>
#include <asm/ibt.h>
#include <asm/nospec-branch.h>

.macro VSND_FUNCTION_PADDING
#ifdef CONFIG_CALL_PADDING
\t.skip CONFIG_FUNCTION_PADDING_BYTES, 0x90
#endif
.endm

/* A macro, so that every kernel's RET is taken as a whole. */
.macro VSND_RET
\tRET
.endm

";

const EPILOGUE: &str = "\t.section\t.note.GNU-stack,\"\",@progbits\n";

/// Directives that the assembler gets as they are.
const KEPT: [&str; 16] = [
    ".text", ".data", ".bss", ".globl", ".hidden", ".weak", ".type", ".size", ".p2align", ".set", ".byte", ".short",
    ".long", ".quad", ".zero", ".asciz",
];

/// Directives for debuggers and unwinders; objtool makes the kernel's own unwind tables.
const DROPPED: [&str; 5] = [".file", ".loc", ".ident", ".addrsig", ".addrsig_sym"];

/// Registers that the kernel does not save for us, or uses for itself.
const FORBIDDEN: [&str; 9] = ["%xmm", "%ymm", "%zmm", "%mm", "%st", "%fs", "%gs", "%cr", "%dr"];

/// Converts rustc's assembly of one module.
///
/// # Errors
/// What is not known, with its line.
pub(crate) fn convert(source: &str) -> Result<String, String> {
    let lines: Vec<Line<'_>> = source.lines().map(Line::parse).collect();
    let mut converter = Converter {
        functions: functions(&lines),
        tables: JumpTables::find(&lines),
        out: String::from(PROLOGUE),
        skipping: false,
        in_table: false,
        after_call: false,
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

struct Converter<'a> {
    functions: HashSet<&'a str>,
    tables: JumpTables<'a>,
    out: String,
    /// In a section that is dropped.
    skipping: bool,
    /// Among the entries of a jump table.
    in_table: bool,
    /// The last instruction was a call.
    after_call: bool,
}

impl Converter<'_> {
    fn line(&mut self, line: &Line<'_>) -> Result<(), &'static str> {
        match *line {
            Line::Blank => Ok(()),
            Line::Label(label) => {
                self.label(label);
                Ok(())
            }
            Line::Directive { name, arguments } => self.directive(name, arguments),
            Line::Instruction { mnemonic, operands } => {
                self.in_table = false;
                self.after_call = mnemonic.starts_with("call");
                self.instruction(mnemonic, operands)
            }
        }
    }

    fn label(&mut self, label: &str) {
        self.in_table = label.starts_with(TABLE_PREFIX);
        if self.in_table || self.skipping {
            return;
        }
        if label.starts_with(".Lfunc_end") && self.after_call {
            // The function ends with a call that does not return; objtool wants to be told.
            self.out.push_str("\tud2\n");
        }
        // LLVM's alignment stands before the label; the padding is as long and keeps it.
        let function = self.functions.contains(label);
        let (before, after) = if function { ("\tVSND_FUNCTION_PADDING\n", "\tENDBR\n") } else { ("", "") };
        let _ = write!(self.out, "{before}{label}:\n{after}");
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
        if self.in_table && name == ".quad" {
            return Ok(());
        }
        if !KEPT.contains(&name) && name != ".ascii" {
            return Err("unknown directive");
        }
        if arguments.contains("@GOT") {
            return Err("reference to the GOT");
        }
        let _ = writeln!(self.out, "\t{name}\t{arguments}");
        Ok(())
    }

    fn instruction(&mut self, mnemonic: &str, operands: &str) -> Result<(), &'static str> {
        if FORBIDDEN.iter().any(|register| operands.contains(register)) {
            return Err("a register that the kernel does not lend");
        }
        // x87 has instructions without operands; all of them, and no others, begin with an f.
        if mnemonic.starts_with('f') {
            return Err("an instruction of the FPU");
        }
        check_stack(mnemonic, operands)?;
        let call = mnemonic.starts_with("call");
        match mnemonic {
            "ret" | "retq" if operands.is_empty() => self.out.push_str("\tVSND_RET\n"),
            "call" | "callq" | "jmp" | "jmpq" => match operands.strip_prefix('*') {
                Some(target) => self.indirect(call, target)?,
                None => {
                    let _ = writeln!(self.out, "\t{mnemonic}\t{}", operands.trim_end_matches("@PLT"));
                }
            },
            "movq" if operands.contains("@GOTPCREL(%rip)") => {
                let _ = writeln!(self.out, "\tleaq\t{}", operands.replace("@GOTPCREL", ""));
            }
            _ if operands.contains("@GOT") => return Err("reference to the GOT"),
            _ if operands.contains('@') => return Err("relocation of an unknown kind"),
            _ => {
                let _ = writeln!(self.out, "\t{mnemonic}\t{operands}");
            }
        }
        Ok(())
    }

    fn indirect(&mut self, call: bool, target: &str) -> Result<(), &'static str> {
        if let Some(symbol) = target.strip_suffix("@GOTPCREL(%rip)") {
            let _ = writeln!(self.out, "\t{}\t{symbol}", if call { "call" } else { "jmp" });
        } else if target.starts_with(TABLE_PREFIX) {
            if call {
                return Err("call through a jump table");
            }
            self.out.push_str(&self.tables.chain(target).ok_or("unknown jump table")?);
        } else {
            // r11 is neither an argument nor kept over a call: it is free at a call and at a tail call.
            let register = target.strip_prefix('%').unwrap_or_else(|| {
                let _ = writeln!(self.out, "\tmovq\t{target}, %r11");
                "r11"
            });
            let _ = writeln!(self.out, "\t{}\t{register}", if call { "CALL_NOSPEC" } else { "JMP_NOSPEC" });
        }
        Ok(())
    }
}

/// What an instruction may do to the stack: move its end by a known and small amount, and use what lies above it.
fn check_stack(mnemonic: &str, operands: &str) -> Result<(), &'static str> {
    for (at, _) in operands.match_indices("(%rsp") {
        let digits = operands[..at].trim_end_matches(|c: char| c.is_ascii_hexdigit() || c == 'x');
        if digits.ends_with('-') {
            return Err("the red zone");
        }
    }
    // Nothing but a pop can have rsp as its last operand and not be one of these.
    let Some(source) = operands.strip_suffix(", %rsp") else { return Ok(()) };
    if ["cmpq", "testq"].contains(&mnemonic) {
        return Ok(());
    }
    let amount = source.strip_prefix('$').and_then(|amount| amount.parse::<i32>().ok());
    match (mnemonic, amount) {
        ("subq" | "addq", Some(amount)) if amount.unsigned_abs() <= FRAME_MAX => Ok(()),
        ("subq" | "addq", Some(_)) => Err("stack frame above 1024 octets"),
        _ => Err("the stack pointer is computed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(source: &str) -> String {
        let converted = convert(source).unwrap();
        converted.strip_prefix(PROLOGUE).unwrap().strip_suffix(EPILOGUE).unwrap().into()
    }

    #[test]
    fn calls_and_returns() {
        assert_eq!(body("\tcallq\t*memcpy@GOTPCREL(%rip)\n"), "\tcall\tmemcpy\n");
        assert_eq!(body("\tcallq\t*24(%rax)\n"), "\tmovq\t24(%rax), %r11\n\tCALL_NOSPEC\tr11\n");
        assert_eq!(body("\tjmpq\t*%rax\n\tretq\n"), "\tJMP_NOSPEC\trax\n\tVSND_RET\n");
        assert_eq!(body("\tmovq\tf@GOTPCREL(%rip), %rax\n"), "\tleaq\tf(%rip), %rax\n");
    }

    #[test]
    fn a_function_gets_padding_and_a_landing_place_and_a_noreturn_call_an_end() {
        let source = "\t.type\tf,@function\nf:\n\tcallq\tg\n.Lfunc_end0:\n";
        let converted = "\t.type\tf,@function\n\tVSND_FUNCTION_PADDING\nf:\n\tENDBR\n\tcallq\tg\n\tud2\n.Lfunc_end0:\n";
        assert_eq!(body(source), converted);
    }

    #[test]
    fn jump_tables_go_with_their_entries() {
        let source = "\tjmpq\t*.LJTI0_0(,%rax,8)\n.LJTI0_0:\n\t.quad\t.LA\n\t.quad\t.LB\n";
        assert_eq!(body(source), "\tcmpq\t$0, %rax\n\tje\t.LA\n\tjmp\t.LB\n");
    }

    #[test]
    fn unwind_and_debug_information_is_dropped() {
        let source =
            "\t.cfi_startproc\n\t.section\t.debug_str,\"MS\",@progbits,1\n.Linfo:\n\t.asciz\t\"x\"\n\t.text\n\tnop\n";
        assert_eq!(body(source), "\t.text\t\n\tnop\t\n");
    }

    #[test]
    fn what_the_kernel_forbids_or_nobody_knows_is_refused() {
        for bad in [
            "\tmovaps\t%xmm0, (%rax)\n",
            "\tfld1\n",
            "\tmovq\t%fs:0, %rax\n",
            "\tmovq\t%rax, -8(%rsp)\n",
            "\tmovq\t%rax, -8(%rsp,%rcx,8)\n",
            "\tsubq\t$1200, %rsp\n",
            "\tandq\t$-64, %rsp\n",
            "\tcmpq\tf@GOTPCREL(%rip), %rax\n",
            "\tleaq\tf@TPOFF(%rax), %rax\n",
            "\tjmpq\t*.LJTI1_1(,%rax,8)\n",
            "\t.section\t.init_array,\"aw\"\n",
            "\t.macro\tx\n",
        ] {
            assert!(convert(bad).is_err(), "{bad}");
        }
        for good in ["\tsubq\t$200, %rsp\n", "\taddq\t$-128, %rsp\n", "\tmovq\t8(%rsp), %rax\n"] {
            assert!(convert(good).is_ok(), "{good}");
        }
    }
}
