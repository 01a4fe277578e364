//! Wire format of messages: a header of 16 bytes, then at most 4096 bytes of payload.
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 0..4 | type | operation, the same in request and reply, or `ERROR` |
//! | 4..8 | req_id | chosen by the client, repeated in the reply; 0 in watch events |
//! | 8..12 | tx_id | transaction, 0 for none |
//! | 12..16 | len | bytes of payload |
//!
//! All four fields are in the machine's own byte order, since both ends are on one machine. Source: `xs_wire.h`.

use alloc::vec::Vec;
use core::fmt;

/// Size of a header.
pub const HEADER_BYTES: usize = 16;
/// Largest payload (`XENSTORE_PAYLOAD_MAX`).
pub const PAYLOAD_MAX: usize = 4096;
/// Largest message.
pub const MESSAGE_MAX: usize = HEADER_BYTES + PAYLOAD_MAX;

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        /// Operations, `enum xsd_sockmsg_type`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Op {
            $($(#[$doc])* $name = $value,)*
        }

        impl Op {
            /// All operations.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The operation with this number.
            #[must_use]
            pub fn from_raw(raw: u32) -> Option<Self> {
                match raw {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The operation's number on the wire.
            #[must_use]
            pub fn raw(self) -> u32 {
                match self {
                    $(Self::$name => $value,)*
                }
            }
        }

        impl fmt::Display for Op {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$name => $text,)*
                })
            }
        }
    };
}

ops! {
    /// Control the store itself (was DEBUG).
    Control = 0, "CONTROL";
    /// List a node's children.
    Directory = 1, "DIRECTORY";
    /// Read a value.
    Read = 2, "READ";
    /// Read a permission list.
    GetPerms = 3, "GET_PERMS";
    /// Start a watch of a path.
    Watch = 4, "WATCH";
    /// End a watch.
    Unwatch = 5, "UNWATCH";
    /// Open a transaction.
    TransactionStart = 6, "TRANSACTION_START";
    /// Commit or abort a transaction.
    TransactionEnd = 7, "TRANSACTION_END";
    /// Inform the store of a new domain.
    Introduce = 8, "INTRODUCE";
    /// Inform the store that a domain is gone.
    Release = 9, "RELEASE";
    /// Get a domain's directory.
    GetDomainPath = 10, "GET_DOMAIN_PATH";
    /// Write a value, creating the node and its parents.
    Write = 11, "WRITE";
    /// Create a node and its parents.
    Mkdir = 12, "MKDIR";
    /// Remove a node and all nodes below it.
    Rm = 13, "RM";
    /// Replace a permission list.
    SetPerms = 14, "SET_PERMS";
    /// An event, sent by the store without a request.
    WatchEvent = 15, "WATCH_EVENT";
    /// A refusal as a reply; the payload is a [`StoreErrno`](crate::StoreErrno)'s name.
    Error = 16, "ERROR";
    /// Check if the store knows a domain.
    IsDomainIntroduced = 17, "IS_DOMAIN_INTRODUCED";
    /// Inform the store that a domain runs again.
    Resume = 18, "RESUME";
    /// Let one domain act for another.
    SetTarget = 19, "SET_TARGET";
    /// Drop all watches and transactions of the client.
    ResetWatches = 21, "RESET_WATCHES";
    /// List children from an offset, for directories too large for one message.
    DirectoryPart = 22, "DIRECTORY_PART";
}

/// Error: bytes cannot be a message. The next message cannot be found: the connection is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The header announces more than [`PAYLOAD_MAX`] bytes.
    #[error("payload of {0} bytes announced, {PAYLOAD_MAX} allowed")]
    PayloadTooLong(u32),
}

/// The four numbers before a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The operation's number; not checked, since a server has to answer unknown ones too.
    pub kind: u32,
    /// Id of the request.
    pub req_id: u32,
    /// Id of the transaction, 0 for none.
    pub tx_id: u32,
    /// Size of the payload in bytes.
    pub len: u32,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// If the header announces more payload than allowed.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, WireError> {
        let word = |n: usize| {
            let mut word = [0; 4];
            for (to, from) in word.iter_mut().zip(bytes.iter().skip(n.saturating_mul(4))) {
                *to = *from;
            }
            u32::from_ne_bytes(word)
        };
        let header = Self { kind: word(0), req_id: word(1), tx_id: word(2), len: word(3) };
        match usize::try_from(header.len) {
            Ok(len) if len <= PAYLOAD_MAX => Ok(header),
            _ => Err(WireError::PayloadTooLong(header.len)),
        }
    }

    /// The header's bytes.
    #[must_use]
    pub fn emit(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let words = [self.kind, self.req_id, self.tx_id, self.len];
        for (to, from) in bytes.iter_mut().zip(words.iter().flat_map(|word| word.to_ne_bytes())) {
            *to = from;
        }
        bytes
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The operation's number.
    pub kind: u32,
    /// Id of the request.
    pub req_id: u32,
    /// Id of the transaction, 0 for none.
    pub tx_id: u32,
    /// Payload of at most [`PAYLOAD_MAX`] bytes.
    pub payload: Vec<u8>,
}

impl Message {
    /// The operation, if it is a known one.
    #[must_use]
    pub fn op(&self) -> Option<Op> {
        Op::from_raw(self.kind)
    }

    /// Appends the message's bytes.
    ///
    /// # Errors
    /// If the payload is longer than allowed; nothing is appended.
    pub fn emit_into(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let len = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        if self.payload.len() > PAYLOAD_MAX {
            return Err(WireError::PayloadTooLong(len));
        }
        let header = Header { kind: self.kind, req_id: self.req_id, tx_id: self.tx_id, len };
        out.extend_from_slice(&header.emit());
        out.extend_from_slice(&self.payload);
        Ok(())
    }
}

/// Splits received bytes into messages.
///
/// Holds at most [`Decoder::CAPACITY`] bytes. Announced lengths are checked before any payload is waited for. The first
/// error stays: from then on all bytes are dropped, and [`next_message`](Self::next_message) returns that error.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    taken: usize,
    failed: Option<WireError>,
}

impl Decoder {
    /// Maximum number of bytes in a decoder: some whole messages.
    pub const CAPACITY: usize = 4 * MESSAGE_MAX;

    /// An empty decoder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes and returns how many. If fewer than given, call [`next_message`](Self::next_message) first.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        if self.failed.is_some() {
            return bytes.len();
        }
        self.bytes.drain(..self.taken.min(self.bytes.len()));
        self.taken = 0;
        let count = Self::CAPACITY.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend(bytes.iter().take(count));
        count
    }

    /// Number of bytes that [`push`](Self::push) would take now.
    #[must_use]
    pub fn space(&self) -> usize {
        Self::CAPACITY.saturating_sub(self.pending())
    }

    /// Number of bytes that are not yet part of a returned message.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.bytes.len().saturating_sub(self.taken)
    }

    /// The next whole message, `None` if bytes are missing.
    ///
    /// # Errors
    /// If a header announces too much payload, then and at every later call.
    pub fn next_message(&mut self) -> Result<Option<Message>, WireError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let Some((header, rest)) = rest.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let header = match Header::parse(header) {
            Ok(header) => header,
            Err(error) => {
                self.failed = Some(error);
                self.bytes = Vec::new();
                self.taken = 0;
                return Err(error);
            }
        };
        let len = usize::try_from(header.len).unwrap_or(PAYLOAD_MAX);
        let Some(payload) = rest.get(..len) else { return Ok(None) };
        let message =
            Message { kind: header.kind, req_id: header.req_id, tx_id: header.tx_id, payload: payload.to_vec() };
        self.taken = self.taken.saturating_add(HEADER_BYTES).saturating_add(len);
        Ok(Some(message))
    }
}

/// Splits a payload of exactly `N` strings, each ended by a NUL, none with a NUL inside.
#[must_use]
pub fn strings<const N: usize>(payload: &[u8]) -> Option<[&[u8]; N]> {
    let body = payload.strip_suffix(b"\0")?;
    let mut parts = [&[] as &[u8]; N];
    let mut found = body.split(|byte| *byte == 0);
    for part in &mut parts {
        *part = found.next()?;
    }
    found.next().is_none().then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_message() -> impl Strategy<Value = Message> {
        (any::<u32>(), any::<u32>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..=PAYLOAD_MAX))
            .prop_map(|(kind, req_id, tx_id, payload)| Message { kind, req_id, tx_id, payload })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn parse_of_emit_is_identity_for_headers(kind: u32, req_id: u32, tx_id: u32, len in 0..=4096u32) {
            let header = Header { kind, req_id, tx_id, len };
            prop_assert_eq!(Header::parse(&header.emit()), Ok(header));
        }

        #[test]
        fn messages_survive_any_cutting(
            messages in prop::collection::vec(any_message(), 1..5),
            cuts in prop::collection::vec(1..5000usize, 1..20),
        ) {
            let mut bytes = Vec::new();
            for message in &messages {
                message.emit_into(&mut bytes).unwrap();
            }
            let (mut decoder, mut got, mut rest) = (Decoder::new(), Vec::new(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                let piece = &rest[..rest.len().min(*cut)];
                rest = &rest[decoder.push(piece)..];
                prop_assert!(decoder.pending() <= Decoder::CAPACITY);
                while let Some(message) = decoder.next_message().unwrap() {
                    got.push(message);
                }
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(got, messages);
        }

        #[test]
        fn no_bytes_panic_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..20_000)) {
            crate::fuzzing::decoder(&bytes);
        }

        #[test]
        fn strings_are_split_exactly(parts in prop::collection::vec("[a-z/]{0,6}", 1..5)) {
            let payload: Vec<u8> = parts.iter().flat_map(|part| format!("{part}\0").into_bytes()).collect();
            let got = strings::<2>(&payload);
            prop_assert_eq!(got.is_some(), parts.len() == 2);
            if let Some([first, second]) = got {
                prop_assert_eq!(first, parts[0].as_bytes());
                prop_assert_eq!(second, parts[1].as_bytes());
            }
        }
    }

    #[test]
    fn a_payload_above_the_limit_latches_the_decoder() {
        let mut decoder = Decoder::new();
        decoder.push(&Header { len: 4097, ..Header::default() }.emit());
        assert_eq!(decoder.next_message(), Err(WireError::PayloadTooLong(4097)));
        decoder.push(&Header::default().emit());
        assert_eq!(decoder.next_message(), Err(WireError::PayloadTooLong(4097)));
        assert_eq!(decoder.pending(), 0);
        let message = Message { kind: 0, req_id: 0, tx_id: 0, payload: vec![0; 4097] };
        assert!(message.emit_into(&mut Vec::new()).is_err());
    }

    #[test]
    fn op_numbers_are_those_of_the_header_file() {
        for op in Op::ALL {
            assert_eq!(Op::from_raw(op.raw()), Some(*op));
        }
        assert_eq!(Op::from_raw(20), None, "RESTRICT was removed");
        assert_eq!(Op::from_raw(0xffff), None);
        assert_eq!(Op::WatchEvent.raw(), 15);
        assert_eq!(Op::DirectoryPart.raw(), 22);
    }
}
