//! From where Xen starts a PVH guest to Rust.
//!
//! Xen reads the note below and jumps to the entry in 32-bit mode: paging off, flat segments, interrupts off, `ebx` with the
//! address of a structure that tells of memory and the command line, which beep has no need of. The way from there to Rust is
//! page tables, long mode and a stack.
//!
//! Sources: `docs/misc/pvh.pandoc`, `xen/include/public/elfnote.h` of the Xen project.
#![expect(unsafe_code, reason = "assembly")]

use core::arch::global_asm;

global_asm!(
    r#"
    # Name "Xen", type XEN_ELFNOTE_PHYS32_ENTRY, and the entry's address.
    .pushsection .note.Xen, "a", @note
    .balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long pvh_entry
    .popsection

    .pushsection .text.pvh_entry, "ax", @progbits
    .code32
    .global pvh_entry
pvh_entry:
    cld
    # Page tables, then physical address extension, then long mode, then paging: in this order, says the processor's manual.
    movl $page_map, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl ${cr4_pae}, %eax
    movl %eax, %cr4
    movl ${msr_efer}, %ecx
    rdmsr
    orl ${efer_long_mode}, %eax
    wrmsr
    movl %cr0, %eax
    orl ${cr0_paging}, %eax
    movl %eax, %cr0
    lgdt gdt_pointer
    ljmp $8, $long_mode

    .code64
long_mode:
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $stack_top, %esp
    call {main}
    ud2
    .popsection

    # The first 4 GiB are where they are, in pages of 2 MiB: our memory, and what Xen puts below the end of it.
    .pushsection .data.page_tables, "aw", @progbits
    .balign 4096
page_map:
    .quad pointers + {present_and_writable}
    .fill 511, 8, 0
pointers:
    .quad directories + {present_and_writable}
    .quad directories + 4096 + {present_and_writable}
    .quad directories + 8192 + {present_and_writable}
    .quad directories + 12288 + {present_and_writable}
    .fill 508, 8, 0
directories:
    .set address, 0
    .rept 2048
    .quad address + {large} + {present_and_writable}
    .set address, address + 0x200000
    .endr
    .popsection

    .pushsection .rodata.gdt, "a", @progbits
    .balign 8
gdt:
    .quad 0
    # Code of 64 bits.
    .quad 0x00209a0000000000
gdt_pointer:
    .word . - gdt - 1
    .long gdt
    .popsection

    .pushsection .bss.stack, "aw", @nobits
    .balign 16
    .skip {stack_bytes}
stack_top:
    .popsection
    "#,
    cr4_pae = const 1 << 5,
    msr_efer = const 0xc000_0080_u32,
    efer_long_mode = const 1 << 8,
    cr0_paging = const 1_u32 << 31,
    present_and_writable = const 0b11,
    large = const 1 << 7,
    stack_bytes = const 64 * 1024,
    main = sym crate::main,
    options(att_syntax)
);
