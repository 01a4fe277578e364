//! Syntax of the values in the file.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use host_audio::{DeviceSpec, Fallback};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use sndif::store::Rates;
use sndif::{Format, FormatSet, Protocol};

/// Address at which the daemon offers its metrics: `unix:PATH` or `tcp:ADDRESS:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// A Unix socket.
    Unix(PathBuf),
    /// An address of this machine that other machines cannot reach.
    Tcp(SocketAddr),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

pub(crate) fn device<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DeviceSpec, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

pub(crate) fn optional_device<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DeviceSpec>, D::Error> {
    device(deserializer).map(Some)
}

/// Words of the file for a [`Fallback`].
#[derive(Deserialize)]
#[serde(remote = "Fallback", rename_all = "kebab-case")]
pub(crate) enum FallbackWord {
    Refuse,
    Silence,
}

pub(crate) fn optional_fallback<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Fallback>, D::Error> {
    FallbackWord::deserialize(deserializer).map(Some)
}

pub(crate) fn protocol<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Protocol>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(|error| D::Error::custom(format!("`{text}` is {error}")))
}

/// Decibels, in units of 0.001 dB.
pub(crate) fn decibels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    let decibels = f64::deserialize(deserializer)?;
    match pcm::gain::millidecibels(decibels) {
        Some(millidecibels) => Ok(Some(millidecibels)),
        None => Err(D::Error::custom(format!("{decibels} is not between -100 and 20 (decibels)"))),
    }
}

pub(crate) fn buffer_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    bounded(deserializer, 4096, 64 << 20)
}

pub(crate) fn period_us<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    bounded(deserializer, 100, 1_000_000)
}

pub(crate) fn channels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    bounded(deserializer, 1, 255)
}

pub(crate) fn memory_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    bounded(deserializer, 64 << 20, 1 << 40)
}

pub(crate) fn descriptors<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    bounded(deserializer, 64, 1 << 20)
}

pub(crate) fn threads<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    bounded(deserializer, 8, 1 << 16)
}

pub(crate) fn processor_percent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    bounded(deserializer, 1, 100_000)
}

pub(crate) fn nice<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    bounded(deserializer, -20, 19)
}

pub(crate) fn realtime_priority<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    bounded(deserializer, 1, 99)
}

fn bounded<'de, D: Deserializer<'de>, N: TryFrom<i64> + Copy + PartialOrd + fmt::Display>(
    deserializer: D,
    minimum: N,
    maximum: N,
) -> Result<Option<N>, D::Error> {
    let number = i64::deserialize(deserializer)?;
    match N::try_from(number) {
        Ok(number) if (minimum..=maximum).contains(&number) => Ok(Some(number)),
        _ => Err(D::Error::custom(format!("{number} is not between {minimum} and {maximum}"))),
    }
}

pub(crate) fn formats<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<FormatSet>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let mut formats = FormatSet::EMPTY;
    for name in &names {
        let format = Format::from_name(name).map_err(|_| {
            D::Error::custom(format!(
                "`{name}` is not a sample format; they are called as in xl.cfg: u8, s16_le, f32_le, …"
            ))
        })?;
        formats = formats.with(format);
    }
    if names.is_empty() { Err(D::Error::custom("no format at all")) } else { Ok(Some(formats)) }
}

pub(crate) fn rates<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rates>, D::Error> {
    Rates::of(&Vec::<u32>::deserialize(deserializer)?).map(Some).map_err(D::Error::custom)
}

pub(crate) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ListenAddress>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let address = match text.split_once(':') {
        Some(("unix", path)) if path.starts_with('/') => ListenAddress::Unix(path.into()),
        Some(("tcp", address)) => match address.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => ListenAddress::Tcp(address),
            Ok(_) => {
                return Err(D::Error::custom(format!(
                    "`{text}` is open to others: metrics are given only to this machine, such as at tcp:127.0.0.1:9469"
                )));
            }
            Err(_) => {
                return Err(D::Error::custom(format!(
                    "`{text}`: expected tcp:ADDRESS:PORT, such as tcp:127.0.0.1:9469"
                )));
            }
        },
        _ => return Err(D::Error::custom(format!("`{text}`: expected unix:/PATH or tcp:ADDRESS:PORT"))),
    };
    Ok(Some(address))
}

/// A role as sound servers know it: a word of lower-case letters, digits and dashes.
pub(crate) fn role<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let role = String::deserialize(deserializer)?;
    let is_word = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if role.is_empty() || !role.chars().all(is_word) {
        return Err(D::Error::custom(format!("`{role}` is no role: it is a word such as `music`, `game` or `phone`")));
    }
    Ok(Some(role))
}
