//! x86-64: a PVH guest.
//!
//! Sources: `xen/include/public/xen.h`, `arch-x86/cpuid.h` of the Xen project.
#![expect(unsafe_code, reason = "hypercalls, and instructions that only a kernel may use")]

mod boot;

use core::arch::asm;

use sndif::SharedMemory;

use crate::error::{Error, Result};
use crate::events;
use crate::memory::{Frame, Page, Shared};

/// Offset of the bits of pending channels in `struct shared_info`.
pub const PENDING: usize = 2048;

/// The time of the first processor in the same page, as Xen last wrote it: `struct vcpu_time_info`.
mod time {
    pub const VERSION: usize = 32;
    pub const COUNTER: usize = 40;
    pub const SYSTEM_NS: usize = 48;
    pub const MULTIPLIER: usize = 56;
    pub const SHIFT: usize = 60;
}

/// Xen fills this page with a piece of code for each hypercall, the right one for the processor's maker.
static CODE: Page = Page::zeroed();

/// The first page of the grant table. Xen puts it in the place of one of ours.
static GRANT_TABLE: Page = Page::zeroed();

/// Has Xen write the code of hypercalls.
pub fn prepare() -> Result<()> {
    // "XenVMMXenVMM". Another hypervisor's leaves may stand before Xen's.
    let is_xen = |leaf: &u32| cpuid(*leaf)[1..] == [0x566e_6558, 0x6558_4d4d, 0x4d4d_566e];
    let Some(leaf) = (0x4000_0000..0x4001_0000).step_by(0x100).find(is_xen) else {
        return Err(Error::NoXen);
    };
    let register = cpuid(leaf + 2)[1];
    let address = CODE.frame().address();
    // SAFETY: Xen says that this register takes the address of a page of ours, which it fills with code. That page is for nothing
    // else, and no reference to it exists.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") address as u32, in("edx") (address >> 32) as u32, options(nostack));
    }
    Ok(())
}

/// Description that the processor, or Xen in its place, gives of itself: `eax`, `ebx`, `ecx`, `edx`.
fn cpuid(leaf: u32) -> [u32; 4] {
    let (eax, ebx, ecx, edx): (u32, u64, u32, u32);
    // SAFETY: every processor of 64 bits has this instruction, which changes nothing but these registers. The compiler has a use of
    // its own for `rbx`, so that is put back.
    unsafe {
        asm!(
            "mov {ebx}, rbx",
            "cpuid",
            "xchg {ebx}, rbx",
            ebx = out(reg) ebx,
            inout("eax") leaf => eax,
            inout("ecx") 0 => ecx,
            out("edx") edx,
            options(nomem, nostack, preserves_flags),
        );
    }
    [eax, ebx as u32, ecx, edx]
}

/// Makes a hypercall.
///
/// # Safety
/// [`prepare`] has succeeded. The arguments are those of this call, and whatever they point to is valid for what the call does with
/// it.
pub unsafe fn call(number: usize, arguments: [usize; 3]) -> i64 {
    let entry = CODE.frame().address() as usize + number * 32;
    let result;
    // SAFETY: the code at `entry` is Xen's, for this call. It reads and writes memory as the caller has promised, changes no register
    // that the ABI of C does not let it change, and returns.
    unsafe {
        asm!(
            "call {entry}",
            entry = in(reg) entry,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            lateout("rax") result,
            clobber_abi("sysv64"),
        );
    }
    result
}

/// Returns whether a page is among those that `boot.rs` has mapped, which is all that there can be.
pub fn reach(frame: Frame) -> Result<()> {
    if frame.address() < 1 << 32 { Ok(()) } else { Err(Error::OutOfReach(frame)) }
}

/// The page where the grant table is.
pub fn grant_table() -> Shared {
    GRANT_TABLE.shared()
}

/// Nanoseconds since this host was started.
pub fn now_ns() -> u64 {
    let page = events::shared_info();
    let long = |offset| u64::from(page.load_acquire(offset)) | u64::from(page.load_acquire(offset + 4)) << 32;
    loop {
        // Odd while Xen writes, and another one behind that.
        let version = page.load_acquire(time::VERSION);
        let (counter, system_ns) = (long(time::COUNTER), long(time::SYSTEM_NS));
        let multiplier = page.load_acquire(time::MULTIPLIER);
        let [shift, ..] = page.load_acquire(time::SHIFT).to_le_bytes();
        // SAFETY: every processor of 64 bits has this instruction, and Xen lets guests use it.
        let since = u128::from(unsafe { core::arch::x86_64::_rdtsc() }.saturating_sub(counter));
        page.full_fence();
        if version.is_multiple_of(2) && version == page.load_acquire(time::VERSION) {
            let shift = i32::from(shift.cast_signed());
            let scaled = if shift < 0 { since >> shift.unsigned_abs() } else { since << shift };
            return system_ns + ((scaled * u128::from(multiplier)) >> 32) as u64;
        }
    }
}
