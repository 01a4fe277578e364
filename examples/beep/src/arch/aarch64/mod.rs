//! arm64: a guest as Xen has them on Arm, which `xl` calls PVH, too.
//!
//! Sources: `xen/include/public/arch-arm.h`, `vcpu.h` of the Xen project; `Documentation/arch/arm64/booting.rst` of Linux, whose
//! guests Xen starts in the same way.
#![expect(unsafe_code, reason = "hypercalls, and instructions that only a kernel may use")]

mod boot;
mod clock;
mod tree;

use core::arch::asm;
use core::slice;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::hypercall::{self, Reason};
use crate::memory::{Frame, Shared};

pub use boot::reach;
pub use clock::now_ns;

/// Offset of the bits of pending channels in `struct shared_info`.
pub const PENDING: usize = 48;

/// Address of the device tree.
static TREE: AtomicU64 = AtomicU64::new(0);

/// Address of the region that the tree has for the grant table.
static GRANT_TABLE: AtomicU64 = AtomicU64::new(0);

/// Rust's first function, called by `boot.rs` with what Xen has left in a register.
extern "C" fn start(tree: u64) -> ! {
    TREE.store(tree, Ordering::Relaxed);
    crate::main()
}

/// Looks for Xen in the device tree.
pub fn prepare() -> Result<()> {
    let grant_table = tree::grant_table(device_tree()?).ok_or(Error::NoXen)?;
    reach(Frame::at(grant_table))?;
    GRANT_TABLE.store(grant_table, Ordering::Relaxed);
    clock::prepare()
}

/// Bytes of the device tree.
fn device_tree() -> Result<&'static [u8]> {
    let address = TREE.load(Ordering::Relaxed);
    let bytes = |len: usize| {
        // The tree is at most 2 MiB long, and may begin anywhere.
        reach(Frame::at(address))?;
        reach(Frame::at(address + len as u64 - 1))?;
        let first = core::ptr::with_exposed_provenance::<u8>(address as usize);
        // SAFETY: Xen has put the tree into memory, which is mapped now. Nobody changes it.
        Ok(unsafe { slice::from_raw_parts(first, len) })
    };
    let len = tree::len(bytes(tree::HEADER_BYTES)?).ok_or(Error::NoXen)?;
    bytes(len)
}

/// Makes a hypercall.
///
/// # Safety
/// The machine is Xen's. The arguments are those of this call, and whatever they point to is valid for what the call does with it.
pub unsafe fn call(number: usize, arguments: [usize; 3]) -> i64 {
    let result;
    // SAFETY: Xen reads and writes memory as the caller has promised, and changes no other register.
    unsafe {
        asm!(
            // The number says that the call is for Xen.
            "hvc #0xea1",
            inout("x0") arguments[0] => result,
            inout("x1") arguments[1] => _,
            inout("x2") arguments[2] => _,
            inout("x16") number => _,
            options(nostack),
        );
    }
    result
}

/// The page where the grant table is.
pub fn grant_table() -> Shared {
    // SAFETY: the tree says that this region is for the table and for nothing else, and `prepare` has mapped it.
    unsafe { Shared::at(Frame::at(GRANT_TABLE.load(Ordering::Relaxed))) }
}

/// An instruction that the processor cannot execute ends here, by way of `boot.rs`.
extern "C" fn fault(syndrome: u64, instruction: u64, address: u64) -> ! {
    static ANOTHER: AtomicBool = AtomicBool::new(false);
    // The console may be what fails.
    if !ANOTHER.swap(true, Ordering::Relaxed) {
        let instruction = instruction.wrapping_sub(boot::image());
        crate::say!("failed: fault {syndrome:#x} at {instruction:#x} of the image, address {address:#x}");
        crate::console::flush();
    }
    hypercall::shutdown(Reason::Crash)
}
