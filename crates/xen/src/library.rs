//! Libraries that a sandbox has to have before it refuses to map any more code.

use std::ffi::{CStr, CString, OsStr, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Loads a library, and the libraries that it needs, for as long as the program runs. A later `dlopen` of the same file
/// maps nothing.
///
/// # Errors
/// The dynamic linker's message.
pub fn load(path: &Path) -> Result<(), String> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: `name` is a string that ends with NUL and outlives the call. The library's constructors run, as they do
    // when a device that needs the library is opened; the library is installed by the host's administrator and has the
    // same trust as those that this program is linked with. It is never closed, so its code stays where it is.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if !handle.is_null() {
        return Ok(());
    }
    // SAFETY: reads this thread's last error; the pointer is used before the next call into the dynamic linker.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return Err("it cannot be loaded".into());
    }
    // SAFETY: `dlerror` returns a string that ends with NUL and stays unchanged until this thread's next call into the
    // dynamic linker; it was checked for null above.
    let message = unsafe { CStr::from_ptr(message) };
    Err(message.to_string_lossy().into_owned())
}

/// Paths of the libraries that are loaded, as the dynamic linker names them.
#[must_use]
pub fn loaded() -> Vec<PathBuf> {
    unsafe extern "C" fn note(info: *mut libc::dl_phdr_info, _size: usize, found: *mut c_void) -> c_int {
        // SAFETY: the caller passes a valid description of an object, for the time of this call.
        let name = unsafe { (*info).dlpi_name };
        if !name.is_null() {
            // SAFETY: the name is a string that ends with NUL, and the dynamic linker's lock is held during this call,
            // so that the object stays loaded.
            let name = unsafe { CStr::from_ptr(name) };
            // SAFETY: `loaded` passes a pointer to its vector, which nothing else uses during the call.
            let found = unsafe { &mut *found.cast::<Vec<PathBuf>>() };
            found.push(OsStr::from_bytes(name.to_bytes()).into());
        }
        0
    }
    let mut found: Vec<PathBuf> = Vec::new();
    // SAFETY: `note` has the signature that is asked for and does not unwind except where memory is exhausted, which
    // aborts; the pointer is that of a vector of the type that `note` expects, and outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut found).cast()) };
    // The program itself has no name.
    found.retain(|path| !path.as_os_str().is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_loaded_and_listed() {
        let named = |name: &str| loaded().into_iter().find(|path| path.to_string_lossy().contains(name));
        let libc = named("libc.so.").expect("every program has it");
        // A library of the C library's own package that no program of ours is linked with.
        let other = libc.with_file_name("libresolv.so.2");
        assert_eq!(named("libresolv.so"), None);
        load(&other).expect("loaded");
        assert!(named("libresolv.so").is_some());
    }

    #[test]
    fn a_library_that_is_not_there_is_refused_with_its_name() {
        let refused = load(Path::new("/no/such/library.so")).unwrap_err();
        assert!(refused.contains("/no/such/library.so"), "{refused}");
        assert!(load(Path::new("a\0b")).is_err());
    }
}
