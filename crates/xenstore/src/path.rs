//! Paths of nodes: checks, absolute forms, and the relation between paths.
//!
//! An absolute path starts with `/`. A relative one is below the client's `/local/domain/<domid>`. Names that start
//! with `@` are no nodes: they can only be watched, or have permissions.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

/// Longest absolute path, in bytes, without its terminator (`XENSTORE_ABS_PATH_MAX`).
pub const ABS_PATH_MAX: usize = 3072;
/// Longest relative path, in bytes, without its terminator (`XENSTORE_REL_PATH_MAX`).
pub const REL_PATH_MAX: usize = 2048;
/// Special name whose watches fire when a domain appears.
pub const INTRODUCE_DOMAIN: &str = "@introduceDomain";
/// Special name whose watches fire when a domain dies or goes away.
pub const RELEASE_DOMAIN: &str = "@releaseDomain";

/// Fault of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path is empty.
    #[error("is empty")]
    Empty,
    /// The path is longer than allowed.
    #[error("is longer than {max} bytes")]
    TooLong {
        /// The limit for this kind of path.
        max: usize,
    },
    /// The path has a byte other than letters, digits and `-/_@`.
    #[error("has byte {0:#04x}, which no path may have")]
    BadByte(u8),
    /// The path has an empty component.
    #[error("has two slashes in a row")]
    DoubleSlash,
    /// The path ends in a slash and is not the root.
    #[error("ends in a slash")]
    TrailingSlash,
    /// The path starts with `@`, but a node is required.
    #[error("is a special name, not a node")]
    Special,
}

/// Checks a node's path, absolute or relative.
///
/// # Errors
/// The fault of the path.
pub fn check(path: &[u8]) -> Result<&str, PathError> {
    if path.first() == Some(&b'@') {
        return Err(PathError::Special);
    }
    check_any(path)
}

/// Checks a path for a watch: a node's, or one of the special names.
///
/// Every name after an `@` is accepted, since stores may know more of them than this crate.
///
/// # Errors
/// The fault of the path.
pub fn check_watchable(path: &[u8]) -> Result<&str, PathError> {
    check_any(path)
}

fn check_any(path: &[u8]) -> Result<&str, PathError> {
    let max = if matches!(path.first(), Some(b'/' | b'@')) { ABS_PATH_MAX } else { REL_PATH_MAX };
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if path.len() > max {
        return Err(PathError::TooLong { max });
    }
    if let Some(&byte) = path.iter().find(|byte| !(is_name_byte(**byte) || **byte == b'/')) {
        return Err(PathError::BadByte(byte));
    }
    if path.windows(2).any(|pair| pair == b"//") {
        return Err(PathError::DoubleSlash);
    }
    if path.len() > 1 && path.last() == Some(&b'/') {
        return Err(PathError::TrailingSlash);
    }
    // The path is ASCII at this point, so this cannot fail.
    core::str::from_utf8(path).map_err(|_| PathError::Empty)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'@')
}

/// Returns true if `name` may be the name of one node inside its directory.
#[must_use]
pub fn is_leaf_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= ABS_PATH_MAX && name.iter().all(|byte| is_name_byte(*byte))
}

/// A domain's own directory: `/local/domain/<domid>`.
#[must_use]
pub fn domain_dir(domid: u16) -> String {
    format!("/local/domain/{domid}")
}

/// The absolute form of a checked path that domain `domid` used.
#[must_use]
pub fn absolute(path: &str, domid: u16) -> Cow<'_, str> {
    if path.starts_with(['/', '@']) { Cow::Borrowed(path) } else { Cow::Owned(format!("{}/{path}", domain_dir(domid))) }
}

/// Directory and name of a checked absolute path; `None` for the root.
#[must_use]
pub fn split(path: &str) -> Option<(&str, &str)> {
    match path.rsplit_once('/')? {
        (_, "") => None,
        ("", name) => Some(("/", name)),
        parts => Some(parts),
    }
}

/// Returns true if `path` is `at` itself or lies below it. Both must be of one kind, absolute or relative.
#[must_use]
pub fn covers(at: &str, path: &str) -> bool {
    if at == "/" {
        return path.starts_with('/');
    }
    path.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn legal_and_illegal_paths_are_told_apart() {
        for good in ["/", "/a", "/local/domain/0/name", "data", "device/vsnd/0", "a-b_c@d"] {
            assert_eq!(check(good.as_bytes()), Ok(good));
        }
        assert_eq!(check(b""), Err(PathError::Empty));
        assert_eq!(check(b"//"), Err(PathError::DoubleSlash));
        assert_eq!(check(b"/a//b"), Err(PathError::DoubleSlash));
        assert_eq!(check(b"/a/"), Err(PathError::TrailingSlash));
        assert_eq!(check(b"/a b"), Err(PathError::BadByte(b' ')));
        assert_eq!(check("/\u{e9}".as_bytes()), Err(PathError::BadByte(0xc3)));
        assert_eq!(check(b"/a\0"), Err(PathError::BadByte(0)));
        assert_eq!(check(b"/../x"), Err(PathError::BadByte(b'.')));
        assert_eq!(check(b"@releaseDomain"), Err(PathError::Special));
        assert_eq!(check_watchable(b"@releaseDomain"), Ok(RELEASE_DOMAIN));
    }

    #[test]
    fn length_limits_are_exact() {
        let long = |start: &str, len: usize| start.to_owned() + &"x".repeat(len - start.len());
        assert!(check(long("/", ABS_PATH_MAX).as_bytes()).is_ok());
        assert_eq!(check(long("/", ABS_PATH_MAX + 1).as_bytes()), Err(PathError::TooLong { max: ABS_PATH_MAX }));
        assert!(check(long("x", REL_PATH_MAX).as_bytes()).is_ok());
        assert_eq!(check(long("x", REL_PATH_MAX + 1).as_bytes()), Err(PathError::TooLong { max: REL_PATH_MAX }));
    }

    #[test]
    fn covers_is_by_component() {
        assert!(covers("/a", "/a"));
        assert!(covers("/a", "/a/b"));
        assert!(!covers("/a", "/ab"));
        assert!(covers("/", "/a"));
        assert!(covers("/", "/"));
        assert!(!covers("/", RELEASE_DOMAIN));
        assert!(!covers("/a/b", "/a"));
    }

    #[test]
    fn split_gives_directory_and_name() {
        assert_eq!(split("/"), None);
        assert_eq!(split("/a"), Some(("/", "a")));
        assert_eq!(split("/a/b"), Some(("/a", "b")));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_what_passes_has_only_legal_components(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(path) = check(&bytes) {
                prop_assert_eq!(path.as_bytes(), &bytes[..]);
                let whole = absolute(path, 7);
                prop_assert!(whole.as_ref() == "/" || whole[1..].split('/').all(|name| is_leaf_name(name.as_bytes())));
            }
            let _ = check_watchable(&bytes);
        }

        #[test]
        fn a_built_path_passes_and_splits_back(names in prop::collection::vec("[a-zA-Z0-9_-]{1,8}", 1..8)) {
            let path = format!("/{}", names.join("/"));
            prop_assert_eq!(check(path.as_bytes()), Ok(path.as_str()));
            let (dir, name) = split(&path).unwrap();
            prop_assert_eq!(name, names.last().unwrap());
            prop_assert!(covers(dir, &path) && !covers(&path, dir));
        }
    }
}
