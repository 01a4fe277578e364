//! Text form of a host device: `null`, `wav:PATH`, `alsa:PCM`, `pulse[:SINK][@SERVER]`, `pipewire[:NODE][@SERVER]`.

use crate::server_address::ServerAddress;
use crate::wav::Template;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Host device of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DeviceSpec {
    /// No device: playback is lost, capture is silence.
    Null,
    /// A WAV file; the path may hold `{domain}`, `{card}`, `{pcm}` and `{stream}`.
    Wav(PathBuf),
    /// An ALSA PCM by its name, such as `default` or `hw:0,0`.
    Alsa(String),
    /// A device of a PulseAudio server, or of PipeWire in its place.
    Pulse {
        /// Name of the sink or source there; `None` for the server's default.
        device: Option<String>,
        /// Address of the server; `None` for the one that the environment names.
        server: Option<ServerAddress>,
    },
    /// A node of PipeWire's own for each stream.
    PipeWire {
        /// Name or serial number of the node that the stream is connected to; `None` for the default one.
        node: Option<String>,
        /// Socket of the server; `None` for the one that the environment names.
        socket: Option<PathBuf>,
    },
}

/// A text that names no host device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a host device: {reason}; valid are `null`, `wav:PATH` (with {{domain}}, {{card}}, {{pcm}}, \
     {{stream}} in it), `alsa:PCM` (a name of `aplay -L`, such as `alsa:default`), `pulse[:SINK][@SERVER]` (a name of \
     `pactl list short sinks` or, for capture, `sources`; unix:PATH or tcp:HOST[:PORT]) and `pipewire[:NODE][@SERVER]` (a \
     node.name of `pw-cli ls Node`; unix:PATH)"
)]
pub struct ParseDeviceError {
    text: String,
    reason: String,
}

impl FromStr for DeviceSpec {
    type Err = ParseDeviceError;

    fn from_str(text: &str) -> Result<Self, ParseDeviceError> {
        let fail = |reason: String| ParseDeviceError { text: text.to_owned(), reason };
        for (kind, parse) in [("pulse", pulse as fn(&str) -> _), ("pipewire", pipewire)] {
            if let Some(rest) = text.strip_prefix(kind) {
                return parse(rest).unwrap_or_else(|| Err(format!("there is no kind `{text}`"))).map_err(fail);
            }
        }
        let (kind, rest) = text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
        match (kind, rest) {
            ("null", None) => Ok(Self::Null),
            ("null", Some(_)) => Err(fail("`null` takes nothing after it".into())),
            ("wav", None | Some("")) => Err(fail("`wav:` needs a path".into())),
            ("wav", Some(path)) => {
                Template::check(path).map_err(fail)?;
                Ok(Self::Wav(path.into()))
            }
            ("alsa", None | Some("")) => Err(fail("`alsa:` needs the name of a PCM".into())),
            ("alsa", Some(name)) if name.contains('\0') => Err(fail("a PCM's name has no NUL".into())),
            ("alsa", Some(name)) => Ok(Self::Alsa(name.into())),
            _ => Err(fail(format!("there is no kind `{kind}`"))),
        }
    }
}

/// Parses the text after `pulse`: `[:SINK][@SERVER]`; `None` if it is something else.
fn pulse(rest: &str) -> Option<Result<DeviceSpec, String>> {
    let made = |(device, server): Named<'_>| {
        let server = server.map(str::parse).transpose()?;
        Ok(DeviceSpec::Pulse { device, server })
    };
    Some(named("pulse", rest)?.and_then(made))
}

/// Parses the text after `pipewire`: `[:NODE][@SERVER]`; `None` if it is something else.
fn pipewire(rest: &str) -> Option<Result<DeviceSpec, String>> {
    let path = |text: &str| match text.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') && !path.contains('\0') => Ok(path.into()),
        _ => Err(format!("`{text}` is no server of PipeWire's: it is unix:/PATH")),
    };
    let made = |(node, server): Named<'_>| {
        let socket = server.map(path).transpose()?;
        Ok(DeviceSpec::PipeWire { node, socket })
    };
    Some(named("pipewire", rest)?.and_then(made))
}

/// A device on a server, and the server.
type Named<'a> = (Option<String>, Option<&'a str>);

/// Parses `[:NAME][@SERVER]` behind `kind`; `None` if it is something else.
fn named<'a>(kind: &str, rest: &'a str) -> Option<Result<Named<'a>, String>> {
    let (name, server) = rest.split_once('@').map_or((rest, None), |(name, server)| (name, Some(server)));
    Some(match name.strip_prefix(':') {
        None if name.is_empty() => Ok((None, server)),
        None => return None,
        Some("") => Err(format!("`{kind}:` needs a device's name; the default device is `{kind}`")),
        Some(name) if name.contains('\0') => Err("a device's name has no NUL".into()),
        Some(name) => Ok((Some(name.to_owned()), server)),
    })
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Wav(path) => write!(f, "wav:{}", path.display()),
            Self::Alsa(name) => write!(f, "alsa:{name}"),
            Self::Pulse { device, server } => written(f, "pulse", device.as_ref(), server.as_ref()),
            Self::PipeWire { node, socket } => {
                let server = socket.as_ref().map(|path| format!("unix:{}", path.display()));
                written(f, "pipewire", node.as_ref(), server.as_ref())
            }
        }
    }
}

/// Writes `KIND[:NAME][@SERVER]`.
fn written(
    f: &mut fmt::Formatter<'_>,
    kind: &str,
    name: Option<&String>,
    server: Option<&impl fmt::Display>,
) -> fmt::Result {
    f.write_str(kind)?;
    if let Some(name) = name {
        write!(f, ":{name}")?;
    }
    server.map_or(Ok(()), |server| write!(f, "@{server}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_of_device_is_read_and_written_back() {
        for text in [
            "null",
            "wav:/tmp/x{domain}.wav",
            "alsa:default",
            "alsa:plug:'hw:0,0'",
            "alsa:hw:CARD=PCH,DEV=0",
            "pulse",
            "pulse:hdmi",
            "pulse:hdmi@tcp:sound.lan:4714",
            "pulse@unix:/run/user/1000/pulse/native",
            "pipewire",
            "pipewire:alsa_output.pci-0000_00_1f.3.analog-stereo",
            "pipewire:57",
            "pipewire:out@unix:/run/user/1000/pipewire-0",
            "pipewire@unix:/run/pipewire-0",
        ] {
            assert_eq!(text.parse::<DeviceSpec>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_wrong_text_is_refused_with_what_is_valid() {
        for (text, reason) in [
            ("", "no kind ``"),
            ("alsaa:default", "no kind `alsaa`"),
            ("null:0", "nothing after it"),
            ("wav", "needs a path"),
            ("alsa:", "needs the name"),
            ("pulse:", "needs a device's name"),
            ("pulse:@tcp:x", "needs a device's name"),
            ("pulseaudio", "no kind `pulseaudio`"),
            ("pulse:x@sound.lan", "`sound.lan`"),
            ("pulse@tcp:x:99999", "`99999`"),
            ("pipewire:", "needs a device's name"),
            ("pipewires", "no kind `pipewires`"),
            ("pipewire@tcp:x", "`tcp:x` is no server of PipeWire's"),
            ("pipewire:out@unix:x", "`unix:x`"),
            ("wav:{dom}.wav", "`{dom}`"),
            ("wav:{domain.wav", "`{`"),
        ] {
            let error = text.parse::<DeviceSpec>().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert!(error.contains("valid are `null`, `wav:PATH` (with {domain}"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_as_itself_or_refused(text in "(null|wav|alsa|pulse|pipewire)?:?.{0,20}") {
            if let Ok(spec) = text.parse::<DeviceSpec>() {
                prop_assert_eq!(spec.to_string(), text);
            }
        }
    }
}
