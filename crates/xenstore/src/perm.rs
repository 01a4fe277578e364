//! Permissions of a node, in the text form of the wire: `n0`, `r1`, `w2`, `b3`.
//!
//! A node has a list of them. The first entry names the owner, who has all rights, and the rights of all domains that
//! the list does not name. Each other entry names one domain and its rights.

use alloc::format;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::errno::StoreErrno;

/// Right of a domain to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// No access (`n`).
    None,
    /// Right to read value, directory and permissions (`r`).
    Read,
    /// Right to write, create below, remove (`w`).
    Write,
    /// Right to read and write (`b`).
    Both,
}

impl Access {
    /// Returns true if reading is allowed.
    #[must_use]
    pub fn reads(self) -> bool {
        matches!(self, Self::Read | Self::Both)
    }

    /// Returns true if writing is allowed.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Both)
    }

    fn letter(self) -> char {
        match self {
            Self::None => 'n',
            Self::Read => 'r',
            Self::Write => 'w',
            Self::Both => 'b',
        }
    }
}

/// One entry of a node's permission list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Perm {
    /// The right.
    pub access: Access,
    /// Domain that has the right; in the first entry the owner.
    pub domain: u16,
}

impl Perm {
    /// No access for `domain`; as a first entry: owned by `domain`, closed to all others.
    #[must_use]
    pub fn none(domain: u16) -> Self {
        Self { access: Access::None, domain }
    }

    /// Reading for `domain`.
    #[must_use]
    pub fn read(domain: u16) -> Self {
        Self { access: Access::Read, domain }
    }

    /// Writing for `domain`.
    #[must_use]
    pub fn write(domain: u16) -> Self {
        Self { access: Access::Write, domain }
    }

    /// Reading and writing for `domain`.
    #[must_use]
    pub fn both(domain: u16) -> Self {
        Self { access: Access::Both, domain }
    }
}

impl fmt::Display for Perm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.access.letter(), self.domain)
    }
}

impl FromStr for Perm {
    type Err = StoreErrno;

    /// Parses one of `nrwb` and a decimal domain id, with nothing around them.
    fn from_str(text: &str) -> Result<Self, StoreErrno> {
        let mut rest = text.chars();
        let access = match rest.next() {
            Some('n') => Access::None,
            Some('r') => Access::Read,
            Some('w') => Access::Write,
            Some('b') => Access::Both,
            _ => return Err(StoreErrno::Inval),
        };
        let digits = rest.as_str();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(StoreErrno::Inval);
        }
        Ok(Self { access, domain: digits.parse().map_err(|_| StoreErrno::Inval)? })
    }
}

/// Right of `domain` under this permission list. Domain 0 and the owner have all rights.
#[must_use]
pub fn access(perms: &[Perm], domain: u16) -> Access {
    let Some((first, others)) = perms.split_first() else { return Access::None };
    if domain == 0 || first.domain == domain {
        return Access::Both;
    }
    others.iter().find(|perm| perm.domain == domain).unwrap_or(first).access
}

/// Parses a permission list in its wire format: at least one entry, each ended by a NUL.
///
/// # Errors
/// `EINVAL` for anything else.
pub fn parse_list(payload: &[u8]) -> Result<Vec<Perm>, StoreErrno> {
    let body = payload.strip_suffix(b"\0").ok_or(StoreErrno::Inval)?;
    body.split(|byte| *byte == 0)
        .map(|entry| core::str::from_utf8(entry).map_err(|_| StoreErrno::Inval)?.parse())
        .collect()
}

/// Wire format of the list.
#[must_use]
pub fn emit_list(perms: &[Perm]) -> Vec<u8> {
    perms.iter().flat_map(|perm| format!("{perm}\0").into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_perm() -> impl Strategy<Value = Perm> {
        let access = prop_oneof![Just(Access::None), Just(Access::Read), Just(Access::Write), Just(Access::Both)];
        (access, any::<u16>()).prop_map(|(access, domain)| Perm { access, domain })
    }

    proptest! {
        #[test]
        fn parse_of_emit_is_identity(perms in prop::collection::vec(any_perm(), 1..8)) {
            prop_assert_eq!(parse_list(&emit_list(&perms)), Ok(perms));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..32)) {
            let _ = parse_list(&bytes);
        }
    }

    #[test]
    fn only_the_exact_text_form_is_taken() {
        assert_eq!("b3".parse(), Ok(Perm::both(3)));
        for bad in ["", "n", "x1", "n-1", "n+1", "n 1", "n65536", "n1x", "1"] {
            assert_eq!(bad.parse::<Perm>(), Err(StoreErrno::Inval), "{bad}");
        }
        assert_eq!(parse_list(b""), Err(StoreErrno::Inval));
        assert_eq!(parse_list(b"n0"), Err(StoreErrno::Inval));
        assert_eq!(parse_list(b"\0"), Err(StoreErrno::Inval));
    }

    #[test]
    fn first_entry_is_owner_and_default() {
        let perms = [Perm::read(1), Perm::none(2), Perm::write(3)];
        assert_eq!(access(&perms, 0), Access::Both);
        assert_eq!(access(&perms, 1), Access::Both);
        assert_eq!(access(&perms, 2), Access::None);
        assert_eq!(access(&perms, 3), Access::Write);
        assert_eq!(access(&perms, 4), Access::Read);
        assert_eq!(access(&[], 4), Access::None);
    }
}
