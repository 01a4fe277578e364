//! A sound card of this domain, connected to its backend.

use std::sync::Arc;
use std::time::Duration;

use frontend::{Mixer, MixerFeatures};
use sndif::store::{DEVICE_CLASS, Direction, number};
use sndif::{Protocol, XenbusState};
use xen::{Xen, XenSpec};

use crate::connection::{self, Shared};
use crate::protocol::Protocol as Open;
use crate::transport::Wire;
use crate::{Capture, Config, Error, Playback, Result, StreamInfo, v0, v2};

/// A connected card. Clones are the same card; it is released when the last clone and the last open stream are dropped.
#[derive(Clone)]
pub struct Card {
    shared: Arc<Shared>,
}

impl Card {
    /// Takes card `card` (its device id) of this domain into use and waits for the backend, at most `timeout`. `spec`
    /// is the one with which `xen` was opened.
    ///
    /// # Errors
    /// [`Error::NoCard`], [`Error::NoStreams`], [`Error::CardInUse`], [`Error::BadNode`]; [`Error::NoDaemon`] after
    /// five seconds in which no backend began with the card, [`Error::ConnectTimeout`] after `timeout`,
    /// [`Error::ConnectionRefused`]; errors of Xen and the store.
    pub fn connect(xen: &Xen, spec: &XenSpec, card: u32, timeout: Duration) -> Result<Self> {
        Ok(Self { shared: connection::connect(xen, spec, card, timeout)? })
    }

    /// Lists the device ids of this domain's cards, ascending.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn list(xen: &Xen) -> Result<Vec<u32>> {
        let mut store = xen.store()?;
        let path = format!("{}/device/{DEVICE_CLASS}", store.domain_path(xen.domain().0)?);
        let names = match store.directory(&path) {
            Ok(names) => names,
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let mut cards: Vec<u32> = names.iter().filter_map(|name| number(name.as_bytes())).collect();
        cards.sort_unstable();
        Ok(cards)
    }

    /// Returns the card's streams, by PCM device and stream.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamInfo> {
        self.shared.lock().layout.streams.clone()
    }

    /// Returns the short and the long name; each may be empty.
    #[must_use]
    pub fn names(&self) -> (String, String) {
        let connection = self.shared.lock();
        (connection.layout.short_name.clone(), connection.layout.long_name.clone())
    }

    /// Returns the backend's features beyond playing and recording.
    #[must_use]
    pub fn features(&self) -> MixerFeatures {
        self.shared.lock().features
    }

    /// Returns the protocol between the card and its backend.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.shared.lock().protocol
    }

    /// Returns our XenBus state and the backend's.
    #[must_use]
    pub fn states(&self) -> (XenbusState, XenbusState) {
        self.shared.lock().states()
    }

    /// Takes in changes of the connection, without waiting; returns true if the streams can be used. Open streams of a
    /// lost connection return [`Error::Lost`] until they [recover](crate::Stream::recover).
    ///
    /// # Errors
    /// Errors of the store.
    pub fn on_wake(&self) -> Result<bool> {
        let mut connection = self.shared.lock();
        connection.pump()?;
        Ok(connection.is_connected())
    }

    /// Opens a stream that plays with `config`; period and buffer become the nearest possible ones, everything else is
    /// accepted unchanged or refused.
    ///
    /// # Errors
    /// [`Error::NoStream`], [`Error::Direction`], [`Error::StreamInUse`], [`Error::StreamBroken`],
    /// [`Error::Negotiation`], [`Error::Refused`], [`Error::NoAnswer`], [`Error::Lost`], [`Error::Violation`]; with
    /// version 0 [`Error::Impossible`] and [`Error::RefusedWithoutReason`].
    pub fn playback(&self, pcm: u8, stream: u8, config: &Config) -> Result<Playback> {
        self.open(Direction::Playback, pcm, stream, config).and_then(Playback::open)
    }

    /// Opens a stream that records, like [`playback`](Self::playback).
    ///
    /// # Errors
    /// Errors of [`playback`](Self::playback).
    pub fn capture(&self, pcm: u8, stream: u8, config: &Config) -> Result<Capture> {
        self.open(Direction::Capture, pcm, stream, config).and_then(Capture::open)
    }

    fn open(&self, direction: Direction, pcm: u8, stream: u8, config: &Config) -> Result<Box<dyn Open>> {
        let mut connection = self.shared.lock();
        connection.pump()?;
        if !connection.is_connected() {
            return Err(Error::Lost);
        }
        let features = connection.features;
        let (info, index) = connection.find(pcm, stream)?;
        if info.direction != direction {
            return Err(Error::Direction(info.direction));
        }
        let slot = connection.slots.get_mut(index).ok_or(Error::NoStream { pcm, stream })?;
        if slot.open {
            return Err(Error::StreamInUse { pcm, stream });
        }
        let wire = slot.transport.take().ok_or(Error::StreamBroken { pcm, stream })?;
        slot.open = true;
        let (mixer, v0_mixer) = (slot.mixer.take(), slot.v0_mixer);
        let held = connection.update_held();
        drop(connection);
        let shared = Arc::clone(&self.shared);
        // From here on the exchange gives transport and mixer back on every path.
        Ok(match wire {
            Wire::V0(transport) => {
                let exchange = v0::Exchange::new(shared, *transport, v0_mixer);
                held?;
                Box::new(v0::Stream::new(exchange, info, config)?)
            }
            Wire::V2(transport) => {
                let mut mixer = mixer.unwrap_or_else(|| Box::new(Mixer::new(features)));
                mixer.set_features(features);
                let exchange = v2::Exchange::new(shared, index, *transport, mixer);
                held?;
                Box::new(v2::Stream::new(exchange, info, config)?)
            }
        })
    }
}

impl std::fmt::Debug for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (frontend, backend) = self.states();
        f.debug_struct("Card").field("frontend", &frontend).field("backend", &backend).finish_non_exhaustive()
    }
}
