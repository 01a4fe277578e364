//! PulseAudio's native protocol: PulseAudio itself, and PipeWire's server in its place.
//!
//! Every stream has a connection of its own, over a local socket or TCP; the messages are the `pulseaudio`
//! crate's. The server is asked for a queue of the guest's own length, and mixes, converts and has the volume.

mod connection;
mod format;
mod playback;
mod record;
mod tail;
mod volume;

use crate::device::{identity, titled};
use crate::live::{Driver, Input, Opened, Output};
use crate::offer::Offer;
use crate::server_address::ServerAddress;
use crate::{Capabilities, DeviceOptions, DeviceSpec, Direction, Error, StreamAddress, StreamSpec, session};
use connection::{Connection, Failure};
use pulseaudio::protocol::{self as pa, Command, PulseError};
use std::ffi::CString;
use std::time::Duration;

/// Driver of `pulse[:SINK][@SERVER]`.
pub(crate) struct PulseDriver {
    device: Option<String>,
    server: Option<ServerAddress>,
    /// Name of the stream on the server.
    title: String,
    role: Option<String>,
    /// Time that the server may take to answer.
    patience: Duration,
}

impl PulseDriver {
    pub(crate) fn new(device: Option<String>, server: Option<ServerAddress>, options: &DeviceOptions) -> Self {
        let patience = options.patience.max(connection::PATIENCE);
        Self { device, server, title: options.title.clone(), role: options.role.clone(), patience }
    }

    fn address(&self) -> ServerAddress {
        self.server.clone().unwrap_or_else(ServerAddress::usual)
    }

    fn title(&self, who: &StreamAddress) -> CString {
        CString::new(titled(who, &self.title)).unwrap_or_default()
    }

    fn connect(&self, title: &CString) -> Result<Connection, Error> {
        Connection::open(&self.address(), title, self.patience)
            .map_err(|failure| self.error(failure, Direction::Playback))
    }

    /// Properties of a stream. PulseAudio remembers the stream by the last property, PipeWire's session manager by the
    /// one before.
    fn props(&self, title: &CString) -> pa::Props {
        let identity = CString::new(identity(&title.to_string_lossy())).unwrap_or_default();
        let mut props = pa::Props::new();
        props.set(pa::Prop::MediaName, title);
        if let Some(role) = self.role.as_deref().and_then(|role| CString::new(role).ok()) {
            props.set(pa::Prop::MediaRole, role);
        }
        props.set(pa::Prop::ApplicationId, &identity);
        props.set_bytes(c"module-stream-restore.id", identity.as_bytes_with_nul());
        props
    }

    /// The device's name for the server; `None` lets the server choose: its default device, or the one to which its
    /// user has moved the stream.
    fn device_name(&self) -> Option<CString> {
        self.device.as_ref().and_then(|name| CString::new(name.as_str()).ok())
    }

    /// The error for a stream that could not be opened.
    fn error(&self, failure: Failure, direction: Direction) -> Error {
        let address = self.address();
        let path = match &address {
            ServerAddress::Unix(path) => Some(path.as_path()),
            ServerAddress::Tcp(..) => None,
        };
        let (reason, hint) = match failure {
            Failure::Refused(PulseError::AccessDenied)
                if direction == Direction::Capture && path.is_some_and(session::is_door) =>
            {
                (
                    "guests may not capture there".to_owned(),
                    "to allow it, run `vsnd-desktop` with `--allow-capture`: /usr/share/doc/vsndd/desktop.md",
                )
            }
            Failure::Refused(PulseError::AccessDenied | PulseError::AuthKey) => (
                "it does not let us in".to_owned(),
                "it wants its user, its cookie (PULSE_COOKIE names the file), or an `auth-ip-acl` with this machine in it",
            ),
            Failure::Refused(PulseError::NoEntity) => (
                format!("it has no {} `{}`", noun(direction), self.device.as_deref().unwrap_or("(default)")),
                match direction {
                    Direction::Playback => "`pactl list short sinks` lists what there is",
                    Direction::Capture => "`pactl list short sources` lists what there is",
                },
            ),
            Failure::Refused(error) => (format!("it refused the stream ({error:?})"), "its log says more"),
            Failure::Broken(reason) => {
                let usual = "`pactl info` says whether PulseAudio or PipeWire (`pipewire-pulse`) runs there";
                (reason, path.and_then(session::hint).unwrap_or(usual))
            }
        };
        Error::unusable(format_args!("PulseAudio server {address}"), reason, hint)
    }
}

const fn noun(direction: Direction) -> &'static str {
    match direction {
        Direction::Playback => "sink",
        Direction::Capture => "source",
    }
}

/// The sinks and sources of a server, `None` for the usual one.
pub(crate) fn offers(server: Option<&ServerAddress>, options: &DeviceOptions) -> Result<Vec<Offer>, String> {
    let driver = PulseDriver::new(None, server.cloned(), options);
    let mut connection = driver.connect(&c"vsnd".to_owned()).map_err(|error| error.to_string())?;
    let failed = |failure| driver.error(failure, Direction::Playback).to_string();
    let sinks: pa::SinkInfoList = connection.call(&Command::GetSinkInfoList).map_err(failed)?;
    let sources: pa::SourceInfoList = connection.call(&Command::GetSourceInfoList).map_err(failed)?;
    let offer = |name: Option<&CString>, description: Option<&CString>, direction: Direction| {
        let text = |text: &CString| text.to_string_lossy().into_owned();
        Offer {
            device: DeviceSpec::Pulse { device: name.map(text), server: server.cloned() },
            description: description.map(text).unwrap_or_default(),
            playback: direction == Direction::Playback,
            capture: direction == Direction::Capture,
        }
    };
    let usual =
        Offer { capture: true, ..offer(None, Some(&c"the server's default device".to_owned()), Direction::Playback) };
    let sinks = sinks.iter().map(|sink| offer(Some(&sink.name), sink.description.as_ref(), Direction::Playback));
    let sources =
        sources.iter().map(|source| offer(Some(&source.name), source.description.as_ref(), Direction::Capture));
    Ok(std::iter::once(usual).chain(sinks).chain(sources).collect())
}

/// Fault that ends a stream in use.
fn lost(server: &str, failure: Failure) -> crate::live::Fault {
    let reason = match failure {
        Failure::Refused(error) => format!("it refused a command ({error:?})"),
        Failure::Broken(reason) => reason,
    };
    crate::live::Fault::Lost(Error::lost(format_args!("PulseAudio server {server}"), reason))
}

impl Driver for PulseDriver {
    fn name(&self) -> String {
        DeviceSpec::Pulse { device: self.device.clone(), server: self.server.clone() }.to_string()
    }

    /// Capabilities of every server: it converts.
    fn capabilities(&self, _direction: Direction) -> Result<Capabilities, Error> {
        Ok(Capabilities { formats: format::formats(), rates_hz: format::RATES_HZ, channels: format::CHANNELS })
    }

    fn check(&self, direction: Direction) -> Result<(), Error> {
        let mut connection = self.connect(&c"vsndd".to_owned())?;
        let outcome = match direction {
            Direction::Playback => {
                let name = Some(self.device_name().unwrap_or_else(|| pa::DEFAULT_SINK.into()));
                connection.call::<pa::SinkInfo>(&Command::GetSinkInfo(pa::GetSinkInfo { index: None, name })).map(drop)
            }
            Direction::Capture => {
                let name = Some(self.device_name().unwrap_or_else(|| pa::DEFAULT_SOURCE.into()));
                let ask = Command::GetSourceInfo(pa::GetSourceInfo { index: None, name });
                connection.call::<pa::SourceInfo>(&ask).map(drop)
            }
        };
        outcome.map_err(|failure| self.error(failure, direction))
    }

    fn open_output(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Opened<dyn Output>, Error> {
        let title = self.title(who);
        let connection = self.connect(&title)?;
        let params = pa::PlaybackStreamParams {
            sink_name: self.device_name(),
            props: self.props(&title),
            ..format::playback(spec)
        };
        playback::PulseOutput::open(connection, params, spec, self.address().to_string())
            .map_err(|failure| self.error(failure, Direction::Playback))
    }

    fn open_input(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Opened<dyn Input>, Error> {
        let title = self.title(who);
        let connection = self.connect(&title)?;
        let params = pa::RecordStreamParams {
            source_name: self.device_name(),
            props: self.props(&title),
            ..format::record(spec)
        };
        record::PulseInput::open(connection, params, spec, self.address().to_string())
            .map_err(|failure| self.error(failure, Direction::Capture))
    }
}
