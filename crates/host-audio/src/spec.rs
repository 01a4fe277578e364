//! The text that names a host device: `null`, `wav:PATH`, `alsa:PCM`, `pulse[:SINK][@SERVER]`.

use crate::live::LiveDevice;
use crate::null::NullDevice;
use crate::pulse::{PulseDriver, ServerAddress};
use crate::wav::{Template, WavDevice};
use crate::{DeviceOptions, HostDevice};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Which host device a stream uses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DeviceSpec {
    /// Nothing: what is played is lost, what is captured is silence.
    Null,
    /// A WAV file; the path may hold `{domain}`, `{card}`, `{pcm}` and `{stream}`.
    Wav(PathBuf),
    /// An ALSA PCM by its name, such as `default` or `hw:0,0`.
    Alsa(String),
    /// A device of a PulseAudio server, or of PipeWire in its place.
    Pulse {
        /// The sink's or source's name there; `None` is the server's default one.
        device: Option<String>,
        /// Where the server is; `None` is the one that the environment names.
        server: Option<ServerAddress>,
    },
}

/// A text that names no host device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a host device: {reason}; valid are `null`, `wav:PATH` (with {{domain}}, {{card}}, {{pcm}}, \
     {{stream}} in it), `alsa:PCM` (a name of `aplay -L`, such as `alsa:default`) and `pulse[:SINK][@SERVER]` (a name of \
     `pactl list short sinks` or, for capture, `sources`; unix:PATH or tcp:HOST[:PORT])"
)]
pub struct ParseDeviceError {
    text: String,
    reason: String,
}

impl DeviceSpec {
    /// The device, not yet opened.
    #[must_use]
    pub fn device(&self, options: &DeviceOptions) -> Box<dyn HostDevice> {
        match self {
            Self::Null => Box::new(NullDevice),
            Self::Wav(path) => Box::new(WavDevice::new(path.clone())),
            #[cfg(feature = "alsa")]
            Self::Alsa(name) => Box::new(LiveDevice::new(crate::alsa::AlsaDriver::new(name.clone()), options.absent)),
            #[cfg(not(feature = "alsa"))]
            Self::Alsa(_) => Box::new(NotBuilt("ALSA")),
            Self::Pulse { device, server } => Box::new(LiveDevice::new(
                PulseDriver::new(device.clone(), server.clone(), options.title.clone()),
                options.absent,
            )),
        }
    }
}

/// Stands where a kind of device was left out of the build.
#[cfg(not(feature = "alsa"))]
struct NotBuilt(&'static str);

#[cfg(not(feature = "alsa"))]
impl HostDevice for NotBuilt {
    fn capabilities(&self, _: &crate::StreamLabel, _: crate::Direction) -> Result<crate::Capabilities, crate::Error> {
        Err(crate::Error::NotBuilt(self.0))
    }

    fn open_sink(&self, _: &crate::StreamLabel, _: &crate::StreamSpec) -> Result<Box<dyn crate::Sink>, crate::Error> {
        Err(crate::Error::NotBuilt(self.0))
    }

    fn open_source(
        &self,
        _: &crate::StreamLabel,
        _: &crate::StreamSpec,
    ) -> Result<Box<dyn crate::Source>, crate::Error> {
        Err(crate::Error::NotBuilt(self.0))
    }
}

impl FromStr for DeviceSpec {
    type Err = ParseDeviceError;

    fn from_str(text: &str) -> Result<Self, ParseDeviceError> {
        let fail = |reason: String| ParseDeviceError { text: text.to_owned(), reason };
        if let Some(rest) = text.strip_prefix("pulse") {
            return pulse(rest).unwrap_or_else(|| Err(format!("there is no kind `{text}`"))).map_err(fail);
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

/// What follows `pulse`: `[:SINK][@SERVER]`; `None` if it is something else.
fn pulse(rest: &str) -> Option<Result<DeviceSpec, String>> {
    let (device, server) = rest.split_once('@').map_or((rest, None), |(device, server)| (device, Some(server)));
    let device = match device.strip_prefix(':') {
        None if device.is_empty() => None,
        None => return None,
        Some("") => return Some(Err("`pulse:` needs a device's name; the default device is `pulse`".into())),
        Some(name) if name.contains('\0') => return Some(Err("a device's name has no NUL".into())),
        Some(name) => Some(name.to_owned()),
    };
    Some(server.map(str::parse).transpose().map(|server| DeviceSpec::Pulse { device, server }))
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Wav(path) => write!(f, "wav:{}", path.display()),
            Self::Alsa(name) => write!(f, "alsa:{name}"),
            Self::Pulse { device, server } => {
                f.write_str("pulse")?;
                if let Some(device) = device {
                    write!(f, ":{device}")?;
                }
                match server {
                    Some(server) => write!(f, "@{server}"),
                    None => Ok(()),
                }
            }
        }
    }
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
        fn any_text_is_read_back_as_itself_or_refused(text in "(null|wav|alsa|pulse)?:?.{0,20}") {
            if let Ok(spec) = text.parse::<DeviceSpec>() {
                prop_assert_eq!(spec.to_string(), text);
            }
        }
    }
}
