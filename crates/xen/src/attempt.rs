//! Attempts at operations that a sandbox forbids, for tests of that sandbox: with memory, and with Xen's devices.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use sndif::GrantRef;

use crate::dev::ioctl;

/// Bytes that are mapped.
const LEN: usize = sndif::PAGE_BYTES;

/// Tries to make a written page executable.
///
/// # Errors
/// The system's error.
pub fn execute_written() -> io::Result<()> {
    let flags = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the address is chosen by the kernel (null hint, no MAP_FIXED), so no existing mapping is touched.
    let page = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), LEN, flags, MapFlags::PRIVATE)? };
    // SAFETY: the page was mapped above and is used nowhere else; nothing in it is executed.
    let made = unsafe { rustix::mm::mprotect(page, LEN, MprotectFlags::READ | MprotectFlags::EXEC) };
    // SAFETY: the page was mapped above, and nothing points to it any more.
    unsafe { rustix::mm::munmap(page, LEN)? };
    Ok(made?)
}

/// Tries to attach System V shared memory as executable.
///
/// # Errors
/// The system's error.
pub fn execute_shared() -> io::Result<()> {
    // SAFETY: makes a segment, and touches no memory.
    let segment = unsafe { libc::shmget(libc::IPC_PRIVATE, LEN, libc::IPC_CREAT | 0o700) };
    if segment < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the address is chosen by the kernel (null hint, no SHM_REMAP), so no existing mapping is touched.
    let address = unsafe { libc::shmat(segment, ptr::null(), libc::SHM_EXEC) };
    let attached = if address.addr() == usize::MAX { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: the segment was made above; the kernel removes it when it is attached nowhere.
    unsafe { libc::shmctl(segment, libc::IPC_RMID, ptr::null_mut()) };
    if attached.is_ok() {
        // SAFETY: the segment was attached above, and nothing points into it.
        unsafe { libc::shmdt(address) };
    }
    attached
}

/// Tries to map a file that was written, and that has no place in a file system, as executable.
///
/// # Errors
/// The system's error.
pub fn execute_memfd() -> io::Result<()> {
    execute_file(File::from(rustix::fs::memfd_create("attempt", MemfdFlags::CLOEXEC)?))
}

/// Tries to map a file as executable that can be written and was made for this.
///
/// # Errors
/// The system's error.
pub fn execute_file(mut file: File) -> io::Result<()> {
    file.write_all(&[0; LEN])?;
    let flags = ProtFlags::READ | ProtFlags::EXEC;
    // SAFETY: the address is chosen by the kernel (null hint, no MAP_FIXED), so no existing mapping is touched; nothing
    // in the new one is executed.
    let page = unsafe { rustix::mm::mmap(ptr::null_mut(), LEN, flags, MapFlags::PRIVATE, &file, 0)? };
    // SAFETY: the page was mapped above, and nothing points to it.
    unsafe { rustix::mm::munmap(page, LEN)? };
    Ok(())
}

/// Tries to make the call that makes a page of another domain mappable.
///
/// # Errors
/// The system's error.
pub fn call_map() -> io::Result<()> {
    call(|device| ioctl::gntdev_map(device, 0, &[GrantRef(8)]).map(drop))
}

/// Tries to make the call that grants pages to another domain.
///
/// # Errors
/// The system's error.
pub fn call_grant() -> io::Result<()> {
    call(|device| ioctl::gntalloc_alloc(device, 0, true, 1).map(drop))
}

/// Tries to make the call that binds an event channel of another domain.
///
/// # Errors
/// The system's error.
pub fn call_bind() -> io::Result<()> {
    call(|device| ioctl::evtchn_bind_interdomain(device, 0, 1).map(drop))
}

/// Makes a call on a file that is no device of Xen's. A filter of system calls cannot tell; where none refuses the call,
/// the file does.
fn call(make: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<()>) -> io::Result<()> {
    match make(File::open("/dev/null")?.as_fd()) {
        Ok(()) | Err(Errno::NOTTY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
