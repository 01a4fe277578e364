//! A clock that domains share.

/// The processor's own counter, where it is a clock that domains share; `None` where there is none.
///
/// Monotonic clocks of domains begin with their kernels, and their wall clocks are some milliseconds apart. This counter is the
/// same in all PV domains whose configuration has `tsc_mode="native"`, and in dom0 (xl.cfg(5), xen-tscmode(7)).
/// arm64 has none: programs may read the virtual counter only, which Xen has begin with each domain; the physical one, which is
/// the same in all, Linux keeps from them.
#[must_use]
pub fn processor_counter() -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: RDTSC is in every x86-64 processor and only reads a register. A kernel that forbids it to programs ends them
    // with a signal.
    return Some(unsafe { std::arch::x86_64::_rdtsc() });
    #[cfg(not(target_arch = "x86_64"))]
    None
}
