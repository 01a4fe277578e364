//! From where Xen starts a guest on Arm to Rust.
//!
//! Xen loads the file to a multiple of 2 MiB and jumps to its first byte: exception level 1, the MMU and the data cache off,
//! interrupts off, `x0` with the address of the device tree. The memory after the file's end, which `.bss` takes, holds anything.
//!
//! The way from there to Rust is page tables, the relocation of the image, and a stack. The page tables are needed although each
//! address stays what it is: without them the processor treats all memory as a device's, does not cache it, and has no atomic
//! accesses to it. Xen and the other domains access memory through their caches, and would not see what we write, nor we what they
//! write. The public interface of Xen asks for *Normal Inner Write-Back Outer Write-Back Inner-Shareable* memory.
//!
//! Sources: `Documentation/arch/arm64/booting.rst` of Linux; `xen/include/public/arch-arm.h` of the Xen project; chapters B2 and D8
//! of the Arm Architecture Reference Manual.
#![expect(unsafe_code, reason = "assembly")]

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::memory::Frame;

/// Entry of a table: another table.
const TABLE: u64 = 0b11;

/// Entry of a table: 2 MiB, accessed, inner shareable, of the first kind in `MAIR_EL1`.
const BLOCK: u64 = 0b01 | 0b11 << 8 | 1 << 10;

/// The same without code.
const DATA: u64 = BLOCK | 1 << 53;

const BLOCK_BITS: u32 = 21;

/// Addresses of 32 bits in `TTBR0_EL1`, none in the other register; pages of 4 KiB; the walker reads memory like ours.
const TCR: u64 = 32 | 0b01 << 8 | 0b01 << 10 | 0b11 << 12 | 1 << 23;

/// MMU, data cache and instruction cache on, and the bits that have to be set.
const SCTLR: u64 = 1 | 1 << 2 | 1 << 12 | 1 << 11 | 1 << 20 | 1 << 22 | 1 << 23 | 1 << 28 | 1 << 29;

/// Page tables for the first 4 GiB, where Xen puts all that beep is interested in. Only memory is entered, so the
/// processor does not read ahead from a device.
#[repr(C, align(4096))]
struct Tables {
    /// Blocks of 2 MiB.
    directories: [AtomicU64; 2048],
    /// One directory for each GiB.
    map: [AtomicU64; 4],
}

/// Part of the file, since `.bss` is not yet zero when the first entries are written.
#[unsafe(link_section = ".data.page_tables")]
static TABLES: Tables =
    Tables { directories: [const { AtomicU64::new(0) }; 2048], map: [const { AtomicU64::new(0) }; 4] };

/// Enters the 2 MiB around a page, which hold nothing but memory of its kind.
pub fn reach(frame: Frame) -> Result<()> {
    let block = frame.address() >> BLOCK_BITS;
    let entry = TABLES.directories.get(block as usize).ok_or(Error::OutOfReach(frame))?;
    if entry.load(Ordering::Relaxed) == 0 {
        entry.store(block << BLOCK_BITS | DATA, Ordering::Relaxed);
        // SAFETY: both instructions only wait: until the table walker sees the entry.
        unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
    }
    Ok(())
}

/// Address of the image's first byte.
pub fn image() -> u64 {
    let address;
    // SAFETY: the instruction calculates an address.
    unsafe { asm!("adrp {address}, head", address = out(reg) address, options(nomem, nostack, preserves_flags)) };
    address
}

global_asm!(
    r#"
    .pushsection .text.head, "ax", @progbits
    .global head
head:
    b enter
    .long 0
    // Offset of the image from a multiple of 2 MiB, its length in memory, little endian and anywhere.
    .quad 0
    .quad image_bytes
    .quad 0b1010
    .quad 0, 0, 0
    // "ARM\x64".
    .long 0x644d5241
    .long 0

enter:
    mov x19, x0
    // The directories, one after another.
    adrp x1, {tables}
    add x2, x1, #4, lsl #12
    orr x3, x1, #{table}
    add x4, x3, #1, lsl #12
    stp x3, x4, [x2]
    add x3, x4, #1, lsl #12
    add x4, x3, #1, lsl #12
    stp x3, x4, [x2, #16]
    // The blocks of the image, which have to lie below 4 GiB.
    adrp x3, head
    adrp x4, bss_end
    lsr x5, x4, #32
    cbnz x5, stop
    mov x5, #{block}
1:  orr x6, x3, x5
    lsr x7, x3, #{block_bits}
    str x6, [x1, x7, lsl #3]
    add x3, x3, #0x200, lsl #12
    cmp x3, x4
    b.lo 1b

    // The entries were written past the cache, from which the walker reads, and which may hold what was there before. Its lines have
    // 16 bytes or more.
    dmb sy
    mov x3, x1
    add x4, x2, #32
1:  dc ivac, x3
    add x3, x3, #16
    cmp x3, x4
    b.lo 1b
    dsb sy

    // Memory of the first kind is written back, inner and outer. One map of 4 GiB, which is read in this way.
    mov x3, #0xff
    msr mair_el1, x3
    ldr x3, ={tcr}
    msr tcr_el1, x3
    msr ttbr0_el1, x2
    isb
    tlbi vmalle1
    ic iallu
    dsb nsh
    isb
    ldr x3, ={sctlr}
    msr sctlr_el1, x3
    isb

    adrp x3, bss
    adrp x4, bss_end
1:  stp xzr, xzr, [x3], #16
    cmp x3, x4
    b.lo 1b

    // An entry has the offset of an address in the image, a word that says so, and the address in an image that begins at zero.
    adrp x3, relocations
    add x3, x3, :lo12:relocations
    adrp x4, relocations_end
    add x4, x4, :lo12:relocations_end
    adrp x5, head
1:  cmp x3, x4
    b.hs 2f
    ldp x6, x7, [x3], #16
    ldr x7, [x3], #8
    add x7, x7, x5
    str x7, [x5, x6]
    b 1b

2:  adrp x3, vectors
    add x3, x3, :lo12:vectors
    msr vbar_el1, x3
    isb
    adrp x3, stack_top
    add x3, x3, :lo12:stack_top
    mov sp, x3
    mov x0, x19
    bl {start}

stop:
    wfi
    b stop

    // Interrupts are off, so each of the sixteen is a fault.
    .balign 2048
vectors:
    .rept 16
    .balign 128
    b on_fault
    .endr
on_fault:
    adrp x3, stack_top
    add x3, x3, :lo12:stack_top
    mov sp, x3
    mrs x0, esr_el1
    mrs x1, elr_el1
    mrs x2, far_el1
    bl {fault}
    .popsection

    .pushsection .bss.stack, "aw", @nobits
    .balign 16
    .skip {stack_bytes}
stack_top:
    .popsection
    "#,
    tables = sym TABLES,
    table = const TABLE,
    block = const BLOCK,
    block_bits = const BLOCK_BITS,
    tcr = const TCR,
    sctlr = const SCTLR,
    stack_bytes = const 64 * 1024,
    start = sym super::start,
    fault = sym super::fault,
);
