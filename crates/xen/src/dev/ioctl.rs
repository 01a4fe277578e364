//! The `ioctl` calls on Xen's device files, each as a safe function.
//!
//! Arguments are built as whole words in a private buffer, as long as the kernel will read or write;
//! [`abi`](super::abi) has the layouts.

use std::ffi::c_void;
use std::os::fd::BorrowedFd;

use rustix::io::{Errno, Result};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};
use sndif::GrantRef;

use super::abi;

/// A call whose argument is a buffer and whose result is a small number.
///
/// # Invariants
///
/// `argument` is at least as long as the data that the driver reads and writes for `opcode`, given the count
/// (if any) in `argument`.
struct Call<'a> {
    opcode: u32,
    argument: &'a mut [u64],
}

// SAFETY: `as_ptr` gives a buffer that is long enough (invariant) and aligned for every argument
// structure (none needs more than 8), which the driver may read and write, hence IS_MUTATING; it is
// exclusively borrowed for the life of the value. `output_from_ptr` does not touch the pointer.
unsafe impl Ioctl for Call<'_> {
    type Output = u32;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode as Opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> Result<u32> {
        u32::try_from(out).map_err(|_| Errno::RANGE)
    }
}

fn call(device: BorrowedFd<'_>, opcode: u32, argument: &mut [u64]) -> Result<u32> {
    let call = Call { opcode, argument };
    // SAFETY: the callers below, all in this module, keep the invariant of `Call`: the buffer holds
    // the structure that the driver of `device` expects for `opcode`, with room for its results.
    // A descriptor of another device returns ENOTTY.
    unsafe { rustix::ioctl::ioctl(device, call) }
}

/// Two 32-bit fields in their order in memory.
fn pair(first: u32, second: u32) -> u64 {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&first.to_ne_bytes());
    bytes[4..].copy_from_slice(&second.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

/// Binds to `port` of `domain` and returns the local port.
pub(crate) fn evtchn_bind_interdomain(device: BorrowedFd<'_>, domain: u16, port: u32) -> Result<u32> {
    call(device, abi::EVTCHN_BIND_INTERDOMAIN, &mut [pair(domain.into(), port)])
}

/// Restricts the open file permanently to `domain`, which is not 0.
pub(super) fn evtchn_restrict(device: BorrowedFd<'_>, domain: u16) -> Result<()> {
    let mut bytes = [0; 8];
    bytes[..2].copy_from_slice(&domain.to_ne_bytes());
    call(device, abi::EVTCHN_RESTRICT_DOMID, &mut [u64::from_ne_bytes(bytes)]).map(|_| ())
}

/// Allocates a local port that `domain` may bind.
pub(super) fn evtchn_bind_unbound_port(device: BorrowedFd<'_>, domain: u16) -> Result<u32> {
    call(device, abi::EVTCHN_BIND_UNBOUND_PORT, &mut [pair(domain.into(), 0)])
}

/// Signals the other end of a local port.
pub(super) fn evtchn_notify(device: BorrowedFd<'_>, port: u32) -> Result<()> {
    call(device, abi::EVTCHN_NOTIFY, &mut [pair(port, 0)]).map(|_| ())
}

/// Makes `refs` of `domain` mappable and returns the offset for `mmap`.
pub(crate) fn gntdev_map(device: BorrowedFd<'_>, domain: u16, refs: &[GrantRef]) -> Result<u64> {
    let mut argument = map_argument(domain, refs)?;
    call(device, abi::GNTDEV_MAP_GRANT_REF, &mut argument)?;
    Ok(argument[1])
}

fn map_argument(domain: u16, refs: &[GrantRef]) -> Result<Vec<u64>> {
    let count = u32::try_from(refs.len()).map_err(|_| Errno::INVAL)?;
    let mut argument = vec![pair(count, 0), 0];
    argument.extend(refs.iter().map(|reference| pair(domain.into(), reference.0)));
    Ok(argument)
}

/// Releases an offset with `count` references.
pub(super) fn gntdev_unmap(device: BorrowedFd<'_>, index: u64, count: u32) -> Result<()> {
    call(device, abi::GNTDEV_UNMAP_GRANT_REF, &mut [index, pair(count, 0)]).map(|_| ())
}

/// Allocates `count` zeroed pages for `domain` and returns their offset for `mmap` and their references.
pub(crate) fn gntalloc_alloc(
    device: BorrowedFd<'_>,
    domain: u16,
    writable: bool,
    count: u32,
) -> Result<(u64, Vec<GrantRef>)> {
    let mut argument = alloc_argument(domain, writable, count)?;
    call(device, abi::GNTALLOC_ALLOC_GREF, &mut argument)?;
    Ok((argument[1], alloc_refs(&argument, count)))
}

fn alloc_argument(domain: u16, writable: bool, count: u32) -> Result<Vec<u64>> {
    let pages = usize::try_from(count).map_err(|_| Errno::INVAL)?;
    let flags = if writable { abi::GNTALLOC_FLAG_WRITABLE } else { 0 };
    let mut bytes = [0; 8];
    bytes[..2].copy_from_slice(&domain.to_ne_bytes());
    bytes[2..4].copy_from_slice(&flags.to_ne_bytes());
    bytes[4..].copy_from_slice(&count.to_ne_bytes());
    let mut argument = vec![0; 2 + pages.div_ceil(2)];
    argument[0] = u64::from_ne_bytes(bytes);
    Ok(argument)
}

fn alloc_refs(argument: &[u64], count: u32) -> Vec<GrantRef> {
    (0..count).zip(argument[2..].iter().flat_map(|word| halves(*word))).map(|(_, id)| GrantRef(id)).collect()
}

/// Frees the pages at an offset.
pub(super) fn gntalloc_dealloc(device: BorrowedFd<'_>, index: u64, count: u32) -> Result<()> {
    call(device, abi::GNTALLOC_DEALLOC_GREF, &mut [index, pair(count, 0)]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    /// The bytes of an argument from `offset` on.
    fn bytes<const N: usize>(argument: &[u64], offset: usize) -> [u8; N] {
        let all: Vec<u8> = argument.iter().flat_map(|word| word.to_ne_bytes()).collect();
        all[offset..offset + N].try_into().unwrap()
    }

    #[test]
    fn arguments_hold_their_fields_where_the_structures_do() {
        use abi::{GntallocAllocGref as Alloc, GntdevGrantRef as Ref, GntdevMapGrantRef as Map};

        let map = map_argument(7, &[GrantRef(11), GrantRef(12)]).unwrap();
        assert_eq!(bytes(&map, offset_of!(Map, count)), 2_u32.to_ne_bytes());
        let second = offset_of!(Map, refs) + size_of::<Ref>();
        assert_eq!(bytes(&map, second + offset_of!(Ref, domid)), 7_u32.to_ne_bytes());
        assert_eq!(bytes(&map, second + offset_of!(Ref, reference)), 12_u32.to_ne_bytes());
        assert_eq!(size_of_val(&map[..]), size_of::<Map>() + size_of::<Ref>());
        assert_eq!(offset_of!(Map, index), 8, "the second word is the result");

        for count in 1..5 {
            let mut alloc = alloc_argument(7, true, count).unwrap();
            assert_eq!(bytes(&alloc, offset_of!(Alloc, domid)), 7_u16.to_ne_bytes());
            assert_eq!(bytes(&alloc, offset_of!(Alloc, flags)), 1_u16.to_ne_bytes());
            assert_eq!(bytes(&alloc, offset_of!(Alloc, count)), count.to_ne_bytes());
            assert_eq!(offset_of!(Alloc, index), 8, "the second word is the result");
            let needed = offset_of!(Alloc, gref_ids) + 4 * count as usize;
            assert!(size_of_val(&alloc[..]) >= needed.max(size_of::<Alloc>()));
            assert_eq!(offset_of!(Alloc, gref_ids), 16, "references start at the third word");
            alloc[2] = pair(21, 22);
            assert_eq!(alloc_refs(&alloc, count).len(), count as usize);
            assert_eq!(alloc_refs(&alloc, count)[0], GrantRef(21));
        }
        assert_eq!(offset_of!(abi::GntdevUnmapGrantRef, count), 8);
        assert_eq!(offset_of!(abi::GntallocDeallocGref, count), 8);
        assert_eq!(offset_of!(abi::EvtchnBindInterdomain, remote_port), 4);
    }

    #[test]
    fn a_file_that_is_no_such_device_says_so() {
        use std::os::fd::AsFd as _;
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(evtchn_notify(file.as_fd(), 1), Err(Errno::NOTTY));
        assert_eq!(gntdev_map(file.as_fd(), 1, &[GrantRef(8)]), Err(Errno::NOTTY));
        assert_eq!(gntalloc_alloc(file.as_fd(), 1, true, 3), Err(Errno::NOTTY));
    }
}
