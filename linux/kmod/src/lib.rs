// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The Rust half of the guest's kernel module: `vsnd-driver` on the services of the C half.
//!
//! All of the module's unsafe Rust is here, and only for the boundary: calls of C, entries for C, memory shared with
//! another domain. `vsnd.h` is C's view of the same boundary.
//!
//! There is no panic: the panic handler calls a function that does not exist, so a build in which one could happen does
//! not link.

#![cfg_attr(target_os = "none", no_std)]

mod alsa;
mod bus;
mod controls;
mod device;
mod ffi;
mod locks;
mod log;
mod memory;
mod pages;
mod sound;

use driver::Platform;

/// The Linux kernel as a platform of the driver.
pub struct Kernel;

impl Platform for Kernel {
    type Pages = pages::KernelPages;
    type Channel = bus::KernelChannel;
    type Lock<T> = locks::KernelLock<T>;
    type Boxed<T> = memory::KBox<T>;
    type Signal = locks::KernelSignal;
    type Listener = alsa::KernelListener;
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the function does not exist, so a module that calls it does not link.
    unsafe { ffi::vsnd_error_there_is_a_way_to_panic() }
}
