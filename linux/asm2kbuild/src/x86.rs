// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! x86-64.
//!
//! | rustc writes | the kernel gets |
//! |---|---|
//! | a function's label | padding for call depth tracking, the label, `ENDBR` |
//! | `retq` | `RET` (return thunks, straight-line speculation) |
//! | a call or jump through a pointer | `CALL_NOSPEC`, `JMP_NOSPEC` (retpolines) |
//! | a jump table | a chain of comparisons |
//! | `symbol@GOTPCREL(%rip)` | the symbol itself: the module loader has no GOT |
//!
//! Refused: registers of the FPU, segment registers, large stack frames, the red zone.

use std::fmt::Write;

use crate::asm::Line;
use crate::convert::{FRAME_MAX, FRAME_TOO_LARGE, Machine};
use crate::tables::{JumpTables, PREFIX as TABLE_PREFIX};

/// Registers that the kernel does not save for us, or reserves for itself.
const FORBIDDEN: [&str; 9] = ["%xmm", "%ymm", "%zmm", "%mm", "%st", "%fs", "%gs", "%cr", "%dr"];

/// The back end for x86-64.
pub(crate) struct X86<'a> {
    tables: JumpTables<'a>,
    /// True among the entries of a jump table.
    in_table: bool,
    /// True if the last instruction was a call.
    after_call: bool,
}

impl<'a> Machine<'a> for X86<'a> {
    const COMMENT: &'static str = "#";
    const PROLOGUE: &'static str = "\
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
    const NUMBERS: [&'static str; 3] = [".short", ".long", ".quad"];

    fn new(lines: &[Line<'a>]) -> Self {
        Self { tables: JumpTables::find(lines), in_table: false, after_call: false }
    }

    fn leaves_out(&mut self, line: &Line<'_>) -> bool {
        match *line {
            Line::Label(label) => {
                self.in_table = label.starts_with(TABLE_PREFIX);
                self.in_table
            }
            Line::Instruction { .. } => {
                self.in_table = false;
                false
            }
            Line::Directive { name, .. } => self.in_table && name == ".quad",
            Line::Blank => true,
        }
    }

    fn label(&mut self, label: &str, function: bool, out: &mut String) {
        if label.starts_with(".Lfunc_end") && self.after_call {
            // The function ends with a call that does not return; objtool needs an end after it.
            out.push_str("\tud2\n");
        }
        // LLVM's alignment stands before the label; the padding is as long as the alignment and so keeps it.
        let (before, after) = if function { ("\tVSND_FUNCTION_PADDING\n", "\tENDBR\n") } else { ("", "") };
        let _ = write!(out, "{before}{label}:\n{after}");
    }

    fn instruction(&mut self, mnemonic: &str, operands: &str, out: &mut String) -> Result<(), &'static str> {
        if FORBIDDEN.iter().any(|register| operands.contains(register)) {
            return Err("a register that the kernel does not lend");
        }
        // x87 has instructions without operands; all x87 instructions, and no others, begin with an f.
        if mnemonic.starts_with('f') {
            return Err("an instruction of the FPU");
        }
        check_stack(mnemonic, operands)?;
        let call = mnemonic.starts_with("call");
        self.after_call = call;
        match mnemonic {
            "ret" | "retq" if operands.is_empty() => out.push_str("\tVSND_RET\n"),
            "call" | "callq" | "jmp" | "jmpq" => match operands.strip_prefix('*') {
                Some(target) => self.indirect(call, target, out)?,
                None => {
                    let _ = writeln!(out, "\t{mnemonic}\t{}", operands.trim_end_matches("@PLT"));
                }
            },
            "movq" if operands.contains("@GOTPCREL(%rip)") => {
                let _ = writeln!(out, "\tleaq\t{}", operands.replace("@GOTPCREL", ""));
            }
            _ if operands.contains("@GOT") => return Err("reference to the GOT"),
            _ if operands.contains('@') => return Err("relocation of an unknown kind"),
            _ => {
                let _ = writeln!(out, "\t{mnemonic}\t{operands}");
            }
        }
        Ok(())
    }
}

impl X86<'_> {
    fn indirect(&self, call: bool, target: &str, out: &mut String) -> Result<(), &'static str> {
        if let Some(symbol) = target.strip_suffix("@GOTPCREL(%rip)") {
            let _ = writeln!(out, "\t{}\t{symbol}", if call { "call" } else { "jmp" });
        } else if target.starts_with(TABLE_PREFIX) {
            if call {
                return Err("call through a jump table");
            }
            out.push_str(&self.tables.chain(target).ok_or("unknown jump table")?);
        } else {
            // r11 is neither an argument nor preserved over a call: it is free at a call and at a tail call.
            let register = target.strip_prefix('%').unwrap_or_else(|| {
                let _ = writeln!(out, "\tmovq\t{target}, %r11");
                "r11"
            });
            let _ = writeln!(out, "\t{}\t{register}", if call { "CALL_NOSPEC" } else { "JMP_NOSPEC" });
        }
        Ok(())
    }
}

/// Checks an instruction's use of the stack: it may move the stack's end by a known and small amount, and use memory
/// above it.
fn check_stack(mnemonic: &str, operands: &str) -> Result<(), &'static str> {
    for (at, _) in operands.match_indices("(%rsp") {
        let digits = operands[..at].trim_end_matches(|c: char| c.is_ascii_hexdigit() || c == 'x');
        if digits.ends_with('-') {
            return Err("the red zone");
        }
    }
    // An instruction that changes rsp has it as the last of several operands; only a pop has no other operand.
    let Some(source) = operands.strip_suffix(", %rsp") else { return Ok(()) };
    if ["cmpq", "testq"].contains(&mnemonic) {
        return Ok(());
    }
    let amount = source.strip_prefix('$').and_then(|amount| amount.parse::<i32>().ok());
    match (mnemonic, amount) {
        ("subq" | "addq", Some(amount)) if amount.unsigned_abs() <= FRAME_MAX => Ok(()),
        ("subq" | "addq", Some(_)) => Err(FRAME_TOO_LARGE),
        _ => Err("the stack pointer is computed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert;

    fn body(source: &str) -> String {
        convert::body::<X86<'_>>(source)
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
            assert!(convert::convert::<X86<'_>>(bad).is_err(), "{bad}");
        }
        for good in ["\tsubq\t$200, %rsp\n", "\taddq\t$-128, %rsp\n", "\tmovq\t8(%rsp), %rax\n"] {
            assert!(convert::convert::<X86<'_>>(good).is_ok(), "{good}");
        }
    }
}
