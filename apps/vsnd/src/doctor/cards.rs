//! The sound cards that XenStore knows, seen from this domain.
//!
//! Guests can write much of it: paths are made of numbers, text is escaped, and time is bounded.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use sndif::store::{DEVICE_CLASS, Direction, node, number};
use sndif::{Protocol, XenbusState, v0};
use xenstore::{Client, Error};

use super::advice::{Context, Diagnosis, Ends, Served};
use super::machine::SurveyError;
use super::report::{Finding, State};
use crate::text::plain;

/// Time that one answer may take.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Time that the search for cards may take.
const SURVEY_TIME: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Survey {
    /// Our domain.
    pub(super) own: u16,
    pub(super) cards: Vec<Card>,
    /// True if time was over before all cards were looked at.
    pub(super) cut: bool,
}

#[derive(Debug)]
pub(super) struct Card {
    pub(super) guest: u16,
    pub(super) card: u32,
    pub(super) backend: u16,
    name: Option<String>,
    frontend_state: XenbusState,
    backend_state: XenbusState,
    online: bool,
    /// Versions of the protocol that a daemon has announced, if one ever has.
    pub(super) versions: Option<String>,
    protocol: Protocol,
    playback: usize,
    capture: usize,
}

/// Looks at every card that domain `own` serves or has; domain 0 sees the cards of all domains.
///
/// `own` is read from the store if it is not given.
pub(super) fn survey(path: &Path, own: Option<u16>) -> Result<Survey, SurveyError> {
    let mut store = Client::connect(path)?;
    store.set_timeout(ANSWER_TIME);
    let own = match own {
        Some(own) => own,
        None => {
            let value = store.read("domid")?;
            domain(&value).ok_or_else(|| SurveyError::NoDomain(escaped(&value)))?
        }
    };
    let until = Instant::now() + SURVEY_TIME;
    let mut found = BTreeSet::new();
    let hosts = if own == 0 { numbers::<u16>(&mut store, "/local/domain")? } else { BTreeSet::from([own]) };
    let mut cut = false;
    for backend in hosts {
        let path = format!("/local/domain/{backend}/backend/{DEVICE_CLASS}");
        for guest in numbers::<u16>(&mut store, &path)? {
            for card in numbers::<u32>(&mut store, &format!("{path}/{guest}"))? {
                found.insert((guest, card, backend));
            }
        }
        cut |= Instant::now() > until;
        if cut {
            break;
        }
    }
    for card in numbers::<u32>(&mut store, &format!("/local/domain/{own}/device/{DEVICE_CLASS}"))? {
        let backend = store.read_opt(&format!("/local/domain/{own}/device/{DEVICE_CLASS}/{card}/backend-id"));
        let backend = readable(backend)?.and_then(|value| domain(&value)).unwrap_or(0);
        found.insert((own, card, backend));
    }
    let mut cards = Vec::new();
    for (guest, card, backend) in found {
        if Instant::now() > until {
            cut = true;
            break;
        }
        cards.push(Card::read(&mut store, guest, card, backend)?);
    }
    Ok(Survey { own, cards, cut })
}

impl Card {
    fn read(store: &mut Client, guest: u16, card: u32, backend: u16) -> Result<Self, Error> {
        let ours = format!("/local/domain/{backend}/backend/{DEVICE_CLASS}/{guest}/{card}");
        let theirs = format!("/local/domain/{guest}/device/{DEVICE_CLASS}/{card}");
        let paths = [
            format!("/local/domain/{guest}/name"),
            format!("{theirs}/state"),
            format!("{ours}/state"),
            format!("{ours}/online"),
            format!("{ours}/{}", node::VERSIONS),
            format!("{ours}/{}", v0::node::STREAM_ID),
            format!("{ours}/{}", v0::node::TYPE),
            format!("{theirs}/{}", v0::node::RING_REF),
        ];
        let mut values = store.read_many(&paths.each_ref().map(String::as_str)).into_iter();
        let mut next = || readable(values.next().unwrap_or(Ok(None)));
        let (name, frontend_state, backend_state) = (next()?, next()?, next()?);
        let (online, versions) = (next()?, next()?);
        let state = |value: Option<Vec<u8>>| XenbusState::from_node(&value.unwrap_or_default());
        let (stream_id, kind, ring) = (next()?, next()?, next()?);
        let backend_state = state(backend_state);
        let (mut playback, mut capture) = streams(store, &theirs)?;
        let mut versions = versions.map(|versions| escaped(&versions));
        let mut protocol = Protocol::V2;
        if versions.is_none() && (stream_id.is_some() || (playback + capture == 0 && ring.is_some())) {
            protocol = Protocol::V0;
            // A device whose direction nobody described can be used in both.
            let only = kind.as_deref().and_then(Direction::from_node);
            let used = |direction| usize::from(only.is_none_or(|only| only == direction));
            (playback, capture) = (used(Direction::Playback), used(Direction::Capture));
            let served = !matches!(backend_state, XenbusState::Unknown | XenbusState::Initialising);
            versions = served.then(|| "0".to_owned());
        }
        Ok(Self {
            guest,
            card,
            backend,
            name: name.filter(|name| !name.is_empty()).map(|name| escaped(&name)),
            frontend_state: state(frontend_state),
            backend_state,
            online: online.as_deref() != Some(b"0"),
            versions,
            protocol,
            playback,
            capture,
        })
    }

    pub(super) fn is_connected(&self) -> bool {
        (self.frontend_state, self.backend_state) == (XenbusState::Connected, XenbusState::Connected)
    }

    pub(super) fn finding(&self, context: &Context, daemon: Served) -> Finding {
        let check = format!("domain {} card {}", self.guest, self.card);
        let name = self.name.as_ref().map_or(String::new(), |name| format!("\"{name}\": "));
        let protocol = match self.protocol {
            Protocol::V0 => ", protocol v0",
            Protocol::V2 => "",
        };
        let served = if self.backend == 0 { String::new() } else { format!(", served by domain {}", self.backend) };
        let found = format!(
            "{name}frontend {}, backend {}; streams: {} playback, {} capture{protocol}{served}",
            self.frontend_state, self.backend_state, self.playback, self.capture,
        );
        let is_described = self.playback + self.capture > 0 || self.frontend_state == XenbusState::Unknown;
        if !is_described {
            let next = "describe at least one stream, as in `'STREAM, unique-id=out, type=p'`";
            return Finding::missing(check, format!("{found}: a card without streams"), next);
        }
        let ends = Ends { frontend: self.frontend_state, backend: self.backend_state, online: self.online, daemon };
        let place = context.place(self.guest);
        let diagnosis = Diagnosis::of(ends, place);
        let found = match diagnosis.state() {
            State::Ok => found,
            _ => format!("{found}: {}", diagnosis.words(place)),
        };
        let next = context.next(diagnosis, self.guest, self.card, self.backend, self.playback == 0 && self.capture > 0);
        Finding { check, state: diagnosis.state(), found, next }
    }
}

/// Playback and capture streams of the card at `frontend`, counted as drivers do: without gaps from 0.
fn streams(store: &mut Client, frontend: &str) -> Result<(usize, usize), Error> {
    let mut types = Vec::new();
    for pcm in unbroken(numbers(store, frontend)?) {
        let path = format!("{frontend}/{pcm}");
        let streams = unbroken(numbers(store, &path)?);
        types.extend(streams.map(|stream| format!("{path}/{stream}/{}", node::TYPE)));
    }
    let (mut playback, mut capture) = (0, 0);
    for value in store.read_many(&types.iter().map(String::as_str).collect::<Vec<_>>()) {
        match readable(value)?.as_deref().and_then(Direction::from_node) {
            Some(Direction::Playback) => playback += 1,
            Some(Direction::Capture) => capture += 1,
            None => {}
        }
    }
    Ok((playback, capture))
}

/// The numbers that count up from 0 without a gap, as far as the protocol's index reaches.
fn unbroken(found: BTreeSet<u8>) -> impl Iterator<Item = u8> {
    (0..u8::MAX).zip(found).take_while(|(index, found)| index == found).map(|(_, found)| found)
}

/// The numbered children of a directory; none if it does not exist or may not be read.
fn numbers<N: TryFrom<u32> + Ord>(store: &mut Client, path: &str) -> Result<BTreeSet<N>, Error> {
    let names = match store.directory(path) {
        Err(Error::Store { .. }) => return Ok(BTreeSet::new()),
        names => names?,
    };
    Ok(names.iter().filter_map(|name| N::try_from(number(name.as_bytes())?).ok()).collect())
}

/// A value that the store refuses to give counts as missing.
fn readable(value: Result<Option<Vec<u8>>, Error>) -> Result<Option<Vec<u8>>, Error> {
    match value {
        Err(Error::Store { .. }) => Ok(None),
        value => value,
    }
}

fn domain(value: &[u8]) -> Option<u16> {
    number(value).and_then(|number| u16::try_from(number).ok())
}

/// Text of the store, safe to show and not too long.
fn escaped(value: &[u8]) -> String {
    const SHOWN: usize = 64;
    let text: String = String::from_utf8_lossy(value).chars().take(SHOWN).collect();
    plain(&text)
}
