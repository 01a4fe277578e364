//! Commands of PulseAudio's protocol that a worker may give. All others change the server or show what its user does.

use std::collections::{BTreeMap, BTreeSet};

use pulseaudio::protocol::CommandTag as Tag;

/// Commands that are allowed with any arguments.
const PLAYING: &[Tag] = &[
    Tag::Auth,
    Tag::SetClientName,
    Tag::GetServerInfo,
    Tag::GetSinkInfo,
    Tag::GetSinkInfoList,
    Tag::GetSourceInfo,
    Tag::GetSourceInfoList,
    Tag::Subscribe,
    Tag::CreatePlaybackStream,
    Tag::DeletePlaybackStream,
    Tag::CorkPlaybackStream,
    Tag::DrainPlaybackStream,
    Tag::FlushPlaybackStream,
    Tag::PrebufPlaybackStream,
    Tag::TriggerPlaybackStream,
    Tag::GetPlaybackLatency,
    Tag::SetPlaybackStreamBufferAttr,
];

/// Commands that are allowed as well if capturing is.
const CAPTURING: &[Tag] = &[
    Tag::CreateRecordStream,
    Tag::DeleteRecordStream,
    Tag::CorkRecordStream,
    Tag::FlushRecordStream,
    Tag::GetRecordLatency,
    Tag::SetRecordStreamBufferAttr,
];

/// Position of the upper half of a client's version, in which the client offers to share memory. Sharing needs
/// descriptors, which are not passed on.
const SHARES_MEMORY: std::ops::Range<usize> = 11..13;
/// Position of a command's arguments, and of a reply's content: behind two numbers with a letter each.
const ARGUMENTS: usize = 10;

/// A command that is not passed on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    /// Number by which the client recognizes the answer.
    pub number: u32,
    pub command: u32,
}

/// Rights of a client, and its streams.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    allow_capture: bool,
    /// Commands that make a stream and were not answered yet.
    asked: BTreeMap<u32, Direction>,
    own: BTreeSet<(Direction, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    Playback,
    Capture,
}

impl Rights {
    pub fn new(allow_capture: bool) -> Self {
        Self { allow_capture, ..Self::default() }
    }

    /// Tells if the command with this content is passed on; `None` if the content is no command.
    pub fn judge(&mut self, content: &mut [u8]) -> Option<Result<(), Denied>> {
        let (command, number) = (number_at(content, 0)?, number_at(content, 5)?);
        let is = |tags: &[Tag]| tags.iter().any(|&tag| tag as u32 == command);
        let stream = number_at(content, ARGUMENTS);
        let owns = |direction| stream.is_some_and(|stream| self.own.contains(&(direction, stream)));
        let allowed = if is(&[Tag::GetSinkInputInfo]) {
            owns(Direction::Playback)
        } else if is(&[Tag::GetSourceOutputInfo]) {
            owns(Direction::Capture)
        } else {
            is(PLAYING) || (self.allow_capture && is(CAPTURING))
        };
        if !allowed {
            return Some(Err(Denied { number, command }));
        }
        if is(&[Tag::Auth]) {
            content.get_mut(SHARES_MEMORY)?.fill(0);
        } else if is(&[Tag::CreatePlaybackStream]) {
            self.asked.insert(number, Direction::Playback);
        } else if is(&[Tag::CreateRecordStream]) {
            self.asked.insert(number, Direction::Capture);
        }
        Some(Ok(()))
    }

    /// Reads the beginning of an answer of the server: the answer about a new stream has the number that other commands
    /// name it by.
    pub fn answered(&mut self, content: &[u8]) {
        let is_reply = number_at(content, 0) == Some(Tag::Reply as u32);
        let is_error = number_at(content, 0) == Some(Tag::Error as u32);
        if !(is_reply || is_error) {
            return;
        }
        let asked = number_at(content, 5).and_then(|number| self.asked.remove(&number));
        if let (Some(direction), Some(stream), true) = (asked, number_at(content, ARGUMENTS + 5), is_reply) {
            self.own.insert((direction, stream));
        }
    }
}

/// Bytes of an answer that [`Rights::answered`] needs.
pub(crate) const ANSWER_BYTES: usize = ARGUMENTS + 10;

/// The number at `place`, which stands behind its letter.
fn number_at(content: &[u8], place: usize) -> Option<u32> {
    match content.get(place..place + 5)? {
        [b'L', number @ ..] => Some(u32::from_be_bytes(number.try_into().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| [b"L".as_slice(), &number.to_be_bytes()].concat()).collect()
    }

    fn passes(rights: &mut Rights, command: Tag, argument: u32) -> bool {
        rights.judge(&mut numbers(&[command as u32, 7, argument])).expect("a command").is_ok()
    }

    #[test]
    fn changes_of_the_server_or_others_are_denied_even_where_capture_is_allowed() {
        for allow_capture in [false, true] {
            let rights = &mut Rights::new(allow_capture);
            let denied = (0..=110_u32).filter(|&tag| {
                matches!(rights.judge(&mut numbers(&[tag, 7, 0])), Some(Err(Denied { number: 7, command })) if command == tag)
            });
            let denied: BTreeSet<u32> = denied.collect();
            for tag in
                [Tag::LoadModule, Tag::UnloadModule, Tag::Exit, Tag::KillClient, Tag::MoveSinkInput, Tag::Extension]
                    .into_iter()
                    .chain([Tag::SetSinkVolume, Tag::SetDefaultSink, Tag::GetClientInfoList, Tag::GetSinkInputInfoList])
                    .chain([
                        Tag::CreateUploadStream,
                        Tag::RegisterMemfdShmid,
                        Tag::SendObjectMessage,
                        Tag::GetModuleInfo,
                    ])
            {
                assert!(denied.contains(&(tag as u32)), "{tag:?}");
            }
            assert_eq!(denied.contains(&(Tag::CreateRecordStream as u32)), !allow_capture);
            assert_eq!(111 - denied.len(), PLAYING.len() + if allow_capture { CAPTURING.len() } else { 0 });
        }
    }

    #[test]
    fn a_stream_is_asked_about_by_the_client_that_made_it() {
        let rights = &mut Rights::new(true);
        assert!(passes(rights, Tag::CreatePlaybackStream, 0));
        assert!(!passes(rights, Tag::GetSinkInputInfo, 30), "not before it is made");
        rights.answered(&numbers(&[Tag::Reply as u32, 8, 0, 31]));
        rights.answered(&numbers(&[Tag::Reply as u32, 7, 0, 30]));
        rights.answered(&numbers(&[Tag::Reply as u32, 7, 0, 32]));
        assert!(passes(rights, Tag::GetSinkInputInfo, 30));
        for other in [0, 31, 32] {
            assert!(!passes(rights, Tag::GetSinkInputInfo, other), "{other}");
        }
        assert!(!passes(rights, Tag::GetSourceOutputInfo, 30), "a stream of the other direction");
        assert!(passes(rights, Tag::CreateRecordStream, 0));
        rights.answered(&numbers(&[Tag::Error as u32, 7, 4, 40]));
        assert!(!passes(rights, Tag::GetSourceOutputInfo, 40), "it was refused");
    }

    #[test]
    fn nobody_offers_to_share_memory() {
        let mut auth = numbers(&[Tag::Auth as u32, 0, 0xC000_0023]);
        assert_eq!(Rights::new(false).judge(&mut auth), Some(Ok(())));
        assert_eq!(auth, numbers(&[Tag::Auth as u32, 0, 0x23]));
    }

    #[test]
    fn what_is_no_command_is_not_judged() {
        for content in [&b""[..], b"L", b"L\0\0\0\x03", b"L\0\0\0\x03t\0\0\0\0", b"x\0\0\0\x03L\0\0\0\0"] {
            assert_eq!(Rights::new(true).judge(&mut content.to_vec()), None, "{content:?}");
        }
    }
}
