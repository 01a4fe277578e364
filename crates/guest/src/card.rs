//! A sound card of this domain, connected to its backend.

use std::sync::Arc;
use std::time::Duration;

use frontend::{Mixer, MixerFeatures};
use sndif::store::{DEVICE_CLASS, number};
use sndif::{Protocol, XenbusState};
use xen::{Xen, XenSpec};

use crate::connection::{self, Shared, Wire};
use crate::link::Link;
use crate::{Config, Error, OpenStream, Result, Stream, StreamInfo, v0};

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
    /// lost connection return [`Error::Lost`] until they [recover](OpenStream::recover).
    ///
    /// # Errors
    /// Errors of the store.
    pub fn on_wake(&self) -> Result<bool> {
        let mut connection = self.shared.lock();
        connection.pump()?;
        Ok(connection.is_connected())
    }

    /// Opens a stream with `config`; period and buffer become the nearest possible ones, everything else is accepted
    /// unchanged or refused.
    ///
    /// # Errors
    /// [`Error::NoStream`], [`Error::StreamInUse`], [`Error::StreamBroken`], [`Error::Negotiation`],
    /// [`Error::Refused`], [`Error::NoAnswer`], [`Error::Lost`], [`Error::Violation`]; [`Error::Protocol`] of a card of
    /// version 0.
    pub fn open(&self, pcm: u8, stream: u8, config: &Config) -> Result<OpenStream> {
        let mut connection = self.shared.lock();
        connection.pump()?;
        if !connection.is_connected() {
            return Err(Error::Lost);
        }
        if connection.protocol != Protocol::V2 {
            return Err(Error::Protocol { card: connection.card, protocol: connection.protocol });
        }
        let features = connection.features;
        let (index, slot) = connection.slot(pcm, stream).ok_or(Error::NoStream { pcm, stream })?;
        if slot.open {
            return Err(Error::StreamInUse { pcm, stream });
        }
        let transport = match slot.transport.take() {
            Some(Wire::V2(transport)) => *transport,
            other => {
                slot.transport = other;
                return Err(Error::StreamBroken { pcm, stream });
            }
        };
        let mut mixer = slot.mixer.take().unwrap_or_else(|| Box::new(Mixer::new(features)));
        mixer.set_features(features);
        slot.open = true;
        let info = slot.info.clone();
        let held = connection.update_held();
        drop(connection);
        // From here on the link gives transport and mixer back on every path.
        let link = Link::new(Arc::clone(&self.shared), index, transport, mixer);
        held?;
        OpenStream::open(link, info, config)
    }

    /// Opens the stream of a card of protocol version 0 with `config`; period and buffer become the nearest possible
    /// ones.
    ///
    /// # Errors
    /// [`Error::NoStream`], [`Error::StreamInUse`], [`Error::StreamBroken`], [`Error::RefusedWithoutReason`],
    /// [`Error::NoAnswer`], [`Error::Lost`], [`Error::Violation`]; [`Error::Protocol`] of a newer card.
    pub fn open_v0(&self, pcm: u8, stream: u8, config: &Config) -> Result<v0::OpenStream> {
        let mut connection = self.shared.lock();
        connection.pump()?;
        if !connection.is_connected() {
            return Err(Error::Lost);
        }
        if connection.protocol != Protocol::V0 {
            return Err(Error::Protocol { card: connection.card, protocol: connection.protocol });
        }
        let (_, slot) = connection.slot(pcm, stream).ok_or(Error::NoStream { pcm, stream })?;
        let info = slot.info.clone();
        let slot = connection.slots.first_mut().ok_or(Error::NoStream { pcm, stream })?;
        if slot.open {
            return Err(Error::StreamInUse { pcm, stream });
        }
        let Some(Wire::V0(transport)) = slot.transport.take() else { return Err(Error::StreamBroken { pcm, stream }) };
        slot.open = true;
        let mixer = slot.v0_mixer;
        let held = connection.update_held();
        drop(connection);
        // From here on the link gives the transport back on every path.
        let link = v0::Link::new(Arc::clone(&self.shared), *transport, mixer);
        held?;
        v0::OpenStream::open(link, info, config)
    }

    /// Opens a stream of a card of either protocol.
    ///
    /// # Errors
    /// Errors of [`open`](Self::open) and [`open_v0`](Self::open_v0).
    pub fn open_any(&self, pcm: u8, stream: u8, config: &Config) -> Result<Box<dyn Stream>> {
        Ok(match self.protocol() {
            Protocol::V0 => Box::new(self.open_v0(pcm, stream, config)?),
            Protocol::V2 => Box::new(self.open(pcm, stream, config)?),
        })
    }
}

impl std::fmt::Debug for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (frontend, backend) = self.states();
        f.debug_struct("Card").field("frontend", &frontend).field("backend", &backend).finish_non_exhaustive()
    }
}
