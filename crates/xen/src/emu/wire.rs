//! Messages between a domain and the emulated hypervisor.
//!
//! Every message is one packet of a `SOCK_SEQPACKET` socket: little-endian 32-bit words, the first of
//! which is the operation (request) or the status (reply). A reply may carry file descriptors; a
//! request never does. Lengths are exact: a packet that is longer or shorter than its operation
//! needs, or holds an unknown number, is malformed and ends its sender's connection.

use sndif::GrantRef;

use crate::{Access, DomainId, Port, Refusal};

/// Version of these messages; a domain built from another version is refused immediately.
pub(crate) const VERSION: u32 = 1;
/// Maximum number of grant references in one map request: each may need a descriptor in the reply, and the kernel
/// passes at most 253 together.
pub(crate) const MAX_MAP_REFS: usize = 128;
/// Maximum number of pages of one grant request.
pub(crate) const MAX_GRANT_PAGES: u32 = 4096;
/// Bytes of the longest message.
pub(crate) const MAX_MESSAGE: usize = 4 * (3 + 2 * MAX_MAP_REFS);

/// Name of an allocation or a mapping for the life of the hypervisor; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token(pub u64);

/// Request of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// First message of a domain, with its number. The reply carries the liveness descriptor.
    Hello { version: u32, domain: DomainId },
    /// Counters of the whole machine; allowed before `Hello`.
    Stats,
    /// Opens a connection to the store, which the reply carries.
    Store,
    /// Allocates zeroed pages that `to` may map. Reply: token, lowest reference; descriptor of the memory.
    Grant { to: DomainId, pages: u32, access: Access },
    /// Ends the access to granted pages. If they are still mapped, the request is refused; with `deferred`, the
    /// pages are also freed when the last mapping goes.
    EndAccess { token: Token, deferred: bool },
    /// Maps pages. Reply: token, then descriptor index and page for each reference; descriptors.
    Map { from: DomainId, access: Access, refs: Vec<GrantRef> },
    /// Ends the mapping of an earlier `Map`.
    Unmap { token: Token },
    /// Allocates a port. Reply: port; descriptors to receive from and to send to.
    AllocUnbound { remote: DomainId },
    /// Binds a remote port. Reply: same as `AllocUnbound`.
    BindInterdomain { remote: DomainId, port: Port },
    /// Closes one of the sender's ports.
    Close { port: Port },
}

impl Request {
    /// The bytes of this request.
    pub fn encode(&self) -> Vec<u8> {
        let mut words = Vec::with_capacity(8);
        match self {
            Request::Hello { version, domain } => words.extend([1, *version, domain.0.into()]),
            Request::Stats => words.push(2),
            Request::Store => words.push(3),
            Request::Grant { to, pages, access } => words.extend([4, to.0.into(), *pages, access_word(*access)]),
            Request::EndAccess { token, deferred } => {
                words.push(5);
                words.extend(token_words(*token));
                words.push((*deferred).into());
            }
            Request::Map { from, access, refs } => {
                words.extend([6, from.0.into(), access_word(*access)]);
                words.extend(refs.iter().map(|reference| reference.0));
            }
            Request::Unmap { token } => {
                words.push(7);
                words.extend(token_words(*token));
            }
            Request::AllocUnbound { remote } => words.extend([8, remote.0.into()]),
            Request::BindInterdomain { remote, port } => words.extend([9, remote.0.into(), port.0]),
            Request::Close { port } => words.extend([10, port.0]),
        }
        bytes(&words)
    }

    /// The request in `bytes`, or `None` if they are malformed.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let words = words(bytes)?;
        let (operation, arguments) = words.split_first()?;
        Some(match (operation, arguments) {
            (1, &[version, id]) => Request::Hello { version, domain: domain(id)? },
            (2, []) => Request::Stats,
            (3, []) => Request::Store,
            (4, &[to, pages, rights]) => Request::Grant { to: domain(to)?, pages, access: access(rights)? },
            (5, &[low, high, deferred]) => Request::EndAccess { token: token(low, high), deferred: flag(deferred)? },
            (6, &[from, rights, ref refs @ ..]) if !refs.is_empty() && refs.len() <= MAX_MAP_REFS => Request::Map {
                from: domain(from)?,
                access: access(rights)?,
                refs: refs.iter().map(|&reference| GrantRef(reference)).collect(),
            },
            (7, &[low, high]) => Request::Unmap { token: token(low, high) },
            (8, &[remote]) => Request::AllocUnbound { remote: domain(remote)? },
            (9, &[remote, port]) => Request::BindInterdomain { remote: domain(remote)?, port: Port(port) },
            (10, &[port]) => Request::Close { port: Port(port) },
            _ => return None,
        })
    }
}

/// Reply of the hypervisor, without descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Success, with the result words of the operation.
    Done(Vec<u32>),
    /// Refusal, with the index of the reference that caused it (0 if there is only one).
    Refused { refusal: Refusal, index: u32 },
}

impl Reply {
    /// A refusal that concerns no particular reference.
    pub fn refused(refusal: Refusal) -> Self {
        Reply::Refused { refusal, index: 0 }
    }

    /// The bytes of this reply.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Reply::Done(results) => {
                let mut words = vec![0];
                words.extend(results);
                bytes(&words)
            }
            Reply::Refused { refusal, index } => bytes(&[refusal_word(*refusal), *index]),
        }
    }

    /// The reply in `bytes`, or `None` if they are malformed.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let words = words(bytes)?;
        match words.split_first()? {
            (0, results) => Some(Reply::Done(results.to_vec())),
            (&status, &[index]) => Some(Reply::Refused { refusal: refusal(status)?, index }),
            _ => None,
        }
    }
}

/// The token in two words, low one first.
pub(crate) fn token_words(token: Token) -> [u32; 2] {
    [(token.0 & 0xffff_ffff) as u32, (token.0 >> 32) as u32]
}

/// The token that two words hold.
pub(crate) fn token(low: u32, high: u32) -> Token {
    Token(u64::from(low) | u64::from(high) << 32)
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn words(bytes: &[u8]) -> Option<Vec<u32>> {
    let (words, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| words.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

fn domain(word: u32) -> Option<DomainId> {
    u16::try_from(word).ok().map(DomainId)
}

fn flag(word: u32) -> Option<bool> {
    match word {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn access_word(access: Access) -> u32 {
    match access {
        Access::ReadOnly => 0,
        Access::ReadWrite => 1,
    }
}

fn access(word: u32) -> Option<Access> {
    Some(if flag(word)? { Access::ReadWrite } else { Access::ReadOnly })
}

/// Refusals in the order of their status words, which start at 1.
const REFUSALS: [Refusal; 12] = [
    Refusal::NoSuchGrant,
    Refusal::GrantedToAnother,
    Refusal::ReadOnly,
    Refusal::Revoked,
    Refusal::StillMapped,
    Refusal::NoSuchPort,
    Refusal::ReservedForAnother,
    Refusal::Bound,
    Refusal::Quota,
    Refusal::NoResources,
    Refusal::BadArgument,
    Refusal::Unspecified,
];

fn refusal_word(refusal: Refusal) -> u32 {
    REFUSALS.iter().zip(1..).find_map(|(known, word)| (*known == refusal).then_some(word)).unwrap_or(12)
}

fn refusal(word: u32) -> Option<Refusal> {
    let index = usize::try_from(word).ok()?.checked_sub(1)?;
    REFUSALS.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> Vec<Request> {
        let token = Token(0x1_0000_0002);
        vec![
            Request::Hello { version: VERSION, domain: DomainId(7) },
            Request::Stats,
            Request::Store,
            Request::Grant { to: DomainId(0), pages: 3, access: Access::ReadOnly },
            Request::EndAccess { token, deferred: true },
            Request::Map { from: DomainId(3), access: Access::ReadWrite, refs: vec![GrantRef(8); MAX_MAP_REFS] },
            Request::Unmap { token },
            Request::AllocUnbound { remote: DomainId(65535) },
            Request::BindInterdomain { remote: DomainId(1), port: Port(u32::MAX) },
            Request::Close { port: Port(1) },
        ]
    }

    #[test]
    fn every_request_survives_the_wire() {
        for request in examples() {
            let bytes = request.encode();
            assert!(bytes.len() <= MAX_MESSAGE);
            assert_eq!(Request::parse(&bytes), Some(request));
        }
    }

    #[test]
    fn every_reply_survives_the_wire() {
        for refusal in REFUSALS {
            let reply = Reply::Refused { refusal, index: 5 };
            assert_eq!(Reply::parse(&reply.encode()), Some(reply));
        }
        let reply = Reply::Done(vec![1, 2, 3]);
        assert_eq!(Reply::parse(&reply.encode()), Some(reply));
    }

    #[test]
    fn wrong_lengths_and_numbers_are_malformed() {
        for request in examples() {
            let bytes = request.encode();
            assert_eq!(Request::parse(&bytes[..bytes.len() - 1]), None);
            let mut longer = bytes.clone();
            longer.extend([0; 4]);
            assert_eq!(Request::parse(&longer), None, "{request:?}");
        }
        assert_eq!(Request::parse(&[]), None);
        assert_eq!(Request::parse(&bytes(&[0])), None);
        assert_eq!(Request::parse(&bytes(&[11])), None);
        assert_eq!(Request::parse(&bytes(&[1, VERSION, 65536])), None);
        assert_eq!(Request::parse(&bytes(&[4, 0, 1, 2])), None);
        assert_eq!(Request::parse(&bytes(&[6, 0, 1])), None);
        assert_eq!(Reply::parse(&bytes(&[13, 0])), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(bytes: Vec<u8>) {
            if let Some(request) = Request::parse(&bytes) {
                proptest::prop_assert_eq!(request.encode(), bytes);
            }
        }
    }
}
