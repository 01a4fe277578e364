//! A clock that domains share.

/// The processor's counter, if it is a clock that domains share; `None` otherwise.
///
/// Monotonic clocks of domains start with their kernels, and their wall clocks are some milliseconds apart. This
/// counter is the same in all PV domains whose configuration has `tsc_mode="native"`, and in dom0 (xl.cfg(5),
/// xen-tscmode(7)). arm64 has none: programs may read only the virtual counter, which Xen starts with each domain;
/// Linux denies them the physical one, which is the same in all domains.
#[must_use]
pub fn processor_counter() -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: RDTSC is in every x86-64 processor and only reads a register. A kernel that forbids the instruction ends
    // the program with a signal.
    return Some(unsafe { std::arch::x86_64::_rdtsc() });
    #[cfg(not(target_arch = "x86_64"))]
    None
}
