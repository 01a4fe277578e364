// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! arm64.
//!
//! | rustc writes | the kernel gets |
//! |---|---|
//! | a function's label | the label, `VSND_ENTER`: the return address is signed (`paciasp`), or the place is one to land at (`bti c`) |
//! | `ret` | `VSND_LEAVE` (`autiasp`), `ret` |
//! | `b function`, a tail call | `VSND_LEAVE`, the jump |
//! | `br x3`, one through a pointer | the same through x16, which `bti c` lets in |
//!
//! Each of our macros is empty where the kernel is built without the feature. Every function signs, also one that calls
//! none: all functions are treated alike, and `paciasp` is a place to land at.
//!
//! Refused: registers of the FPU, x18 (the kernel's shadow call stack), privileged instructions, the GOT and
//! thread-local data, jump tables, large stack frames, the red zone.

use std::fmt::Write;

use crate::asm::Line;
use crate::convert::{FRAME_MAX, FRAME_TOO_LARGE, Machine};

/// Privileged instructions, and those for other ways to enter and leave functions than our macros.
const FORBIDDEN: [&str; 13] =
    ["mrs", "msr", "sys", "svc", "hvc", "smc", "eret", "hint", "bti", "adr", "dc", "ic", "tlbi"];

/// The back end for arm64.
pub(crate) struct Arm64;

impl<'a> Machine<'a> for Arm64 {
    const COMMENT: &'static str = "//";
    const PROLOGUE: &'static str = "\
/* Hints, which assemblers for any version of the architecture know: paciasp, bti c, autiasp. */
.macro VSND_ENTER
#if defined(CONFIG_ARM64_PTR_AUTH_KERNEL)
\thint\t#25
#elif defined(CONFIG_ARM64_BTI_KERNEL)
\thint\t#34
#endif
.endm

.macro VSND_LEAVE
#ifdef CONFIG_ARM64_PTR_AUTH_KERNEL
\thint\t#29
#endif
.endm

";
    const NUMBERS: [&'static str; 3] = [".hword", ".word", ".xword"];

    fn new(_: &[Line<'a>]) -> Self {
        Self
    }

    fn leaves_out(&mut self, line: &Line<'_>) -> bool {
        *line == Line::Blank
    }

    fn label(&mut self, label: &str, function: bool, out: &mut String) {
        let _ = write!(out, "{label}:\n{}", if function { "\tVSND_ENTER\n" } else { "" });
    }

    fn instruction(&mut self, mnemonic: &str, operands: &str, out: &mut String) -> Result<(), &'static str> {
        if FORBIDDEN.contains(&mnemonic)
            || ["pac", "aut", "reta", "bra", "blra"].iter().any(|start| mnemonic.starts_with(start))
        {
            return Err("an instruction that is the kernel's");
        }
        operands.split(|c: char| !c.is_ascii_alphanumeric() && !"_.$:".contains(c)).try_for_each(check_word)?;
        check_stack(mnemonic, operands)?;
        match mnemonic {
            "ret" if operands.is_empty() => out.push_str("\tVSND_LEAVE\n\tret\n"),
            "ret" => return Err("a return through a register"),
            "br" => {
                let _ = writeln!(out, "\tmov\tx16, {operands}\n\tVSND_LEAVE\n\tbr\tx16");
            }
            "b" if !is_local(operands) => {
                let _ = writeln!(out, "\tVSND_LEAVE\n\tb\t{operands}");
            }
            _ if branches_on_condition(mnemonic) && !operands.rsplit(", ").next().is_some_and(is_local) => {
                return Err("a tail call on a condition");
            }
            _ => {
                let _ = writeln!(out, "\t{mnemonic}\t{operands}");
            }
        }
        Ok(())
    }
}

fn is_local(label: &str) -> bool {
    label.starts_with(".L")
}

fn branches_on_condition(mnemonic: &str) -> bool {
    mnemonic.starts_with("b.") || ["cbz", "cbnz", "tbz", "tbnz"].contains(&mnemonic)
}

/// A register, number, symbol or relocation in the operands.
fn check_word(word: &str) -> Result<(), &'static str> {
    if ["x18", "w18"].contains(&word) {
        return Err("x18, which is the kernel's");
    }
    // Vectors name their shape: `v0.16b`.
    let register = word.split('.').next().unwrap_or(word);
    if let Some(number) = register.strip_prefix(['v', 'q', 'd', 's', 'h', 'b', 'z', 'p'])
        && number.len() < 3
        && number.parse::<u8>().is_ok()
    {
        return Err("a register of the FPU");
    }
    if word.starts_with(".LJTI") {
        return Err("a jump table");
    }
    match word.strip_prefix(':').and_then(|word| word.split(':').next()) {
        None | Some("lo12") => Ok(()),
        Some("got" | "got_lo12" | "gotpage_lo15") => Err("reference to the GOT"),
        Some(_) => Err("relocation of an unknown kind"),
    }
}

/// Checks an instruction's use of the stack: it may move the stack's end by a known and small amount, and use memory
/// above it.
fn check_stack(mnemonic: &str, operands: &str) -> Result<(), &'static str> {
    let amount = |digits: &str| digits.parse::<i32>().ok();
    let small = |amount: i32| if amount.unsigned_abs() <= FRAME_MAX { Ok(()) } else { Err(FRAME_TOO_LARGE) };
    if let Some((_, place)) = operands.split_once("[sp") {
        // The forms are `[sp, #16]`, `[sp, #-16]!`, `[sp], #16`, and `[sp, x8]`, whose index is not negative.
        let moves = place.ends_with('!') || place.starts_with(']');
        let number = place.split_once('#').map(|(_, number)| number.trim_end_matches([']', '!']));
        return match number.map(amount) {
            None => Ok(()),
            Some(None) => Err("an offset that is no number"),
            Some(Some(offset)) if moves => small(offset),
            Some(Some(offset)) if offset < 0 => Err("the red zone"),
            Some(Some(_)) => Ok(()),
        };
    }
    if operands.split(", ").next() != Some("sp") || ["cmp", "cmn"].contains(&mnemonic) {
        return Ok(());
    }
    match (mnemonic, operands.strip_prefix("sp, sp, #").map(amount)) {
        ("add" | "sub", Some(Some(amount))) => small(amount),
        // An amount that is no number, for example `#1, lsl #12`.
        ("add" | "sub", Some(None)) => Err(FRAME_TOO_LARGE),
        _ => Err("the stack pointer is computed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert;

    fn body(source: &str) -> String {
        convert::body::<Arm64>(source)
    }

    #[test]
    fn a_function_is_entered_and_left_by_our_macros() {
        let source =
            "\t.type\tf,@function\nf:\n\tbl\tg\n\tcbz\tx0, .LBB0_1\n\tblr\tx8\n.LBB0_1:\n\tret\n.Lfunc_end0:\n";
        let converted = "\t.type\tf,@function\nf:\n\tVSND_ENTER\n\tbl\tg\n\tcbz\tx0, .LBB0_1\n\tblr\tx8\n\
                         .LBB0_1:\n\tVSND_LEAVE\n\tret\n.Lfunc_end0:\n";
        assert_eq!(body(source), converted);
    }

    #[test]
    fn a_tail_call_leaves_too_and_one_through_a_pointer_goes_through_x16() {
        assert_eq!(body("\tb\tmemcpy\n"), "\tVSND_LEAVE\n\tb\tmemcpy\n");
        assert_eq!(body("\tbr\tx3\n"), "\tmov\tx16, x3\n\tVSND_LEAVE\n\tbr\tx16\n");
        assert_eq!(body("\tb\t.LBB0_2\n"), "\tb\t.LBB0_2\n");
    }

    #[test]
    fn numbers_addresses_and_the_stack_stay_as_they_are() {
        for same in [
            "\t.xword\tf\n",
            "\tadrp\tx0, .Lanon.0\n",
            "\tadd\tx0, x0, :lo12:.Lanon.0\n",
            "\tldr\tw8, [x8, :lo12:.LCPI0_0]\n",
            "\tsub\tsp, sp, #1024\n",
            "\tadd\tsp, sp, #96\n",
            "\tadd\tx29, sp, #16\n",
            "\tstp\tx29, x30, [sp, #-96]!\n",
            "\tldp\tx29, x30, [sp], #96\n",
            "\tstr\tx8, [sp, #1096]\n",
            "\tldrb\tw8, [x9, #-1]!\n",
            "\tbl\td18_of_mine\n",
            "\tcmp\tsp, x8\n",
        ] {
            assert_eq!(body(same), same);
        }
    }

    #[test]
    fn what_the_kernel_forbids_or_nobody_knows_is_refused() {
        for bad in [
            "\tmov\tx18, x0\n",
            "\tstr\tw18, [x0]\n",
            "\tldr\tx0, [x1, x18]\n",
            "\tldr\td0, [x0]\n",
            "\tstp\tq0, q1, [x0]\n",
            "\tmovi\tv0.16b, #0\n",
            "\tld1\t{ v0.8b }, [x0]\n",
            "\tfmov\ts1, w0\n",
            "\tadrp\tx0, :got:f\n",
            "\tldr\tx0, [x0, :got_lo12:f]\n",
            "\tadrp\tx0, :tlsdesc:f\n",
            "\tadrp\tx9, .LJTI0_0\n",
            "\tadr\tx9, .LBB0_1\n",
            "\tmrs\tx0, TPIDR_EL0\n",
            "\tpaciasp\n",
            "\tretaa\n",
            "\tret\tx1\n",
            "\tb.eq\tmemcpy\n",
            "\tcbz\tx0, memcpy\n",
            "\tsub\tsp, sp, #1040\n",
            "\tsub\tsp, sp, #1, lsl #12\n",
            "\tstp\tx29, x30, [sp, #-1040]!\n",
            "\tand\tsp, x9, #0xffffffffffffffc0\n",
            "\tmov\tsp, x29\n",
            "\tstur\tx8, [sp, #-8]\n",
            "\t.quad\tf\n",
            "\t.section\t.init_array,\"aw\"\n",
        ] {
            assert!(convert::convert::<Arm64>(bad).is_err(), "{bad}");
        }
    }
}
