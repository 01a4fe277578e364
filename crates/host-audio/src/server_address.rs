//! Address of a PulseAudio server.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Default port of PulseAudio's `module-native-protocol-tcp`.
const PORT: u16 = 4713;
/// Socket of a server of the whole machine.
const SYSTEM: &str = "/run/pulse/native";

/// Address of a PulseAudio server: `unix:PATH` or `tcp:HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// A local socket.
    Unix(PathBuf),
    /// A host's name or address, an IPv6 one in brackets, and a port.
    Tcp(String, u16),
}

impl ServerAddress {
    /// The default server of a program: the one that `PULSE_SERVER` names, else the user's, else the machine's.
    pub(crate) fn usual() -> Self {
        let named = std::env::var("PULSE_SERVER").ok();
        if let Some(address) = named.and_then(|text| text.split_whitespace().next()?.parse().ok()) {
            return address;
        }
        let path = pulseaudio::socket_path_from_env();
        Self::Unix(path.unwrap_or_else(|| SYSTEM.into()))
    }
}

impl FromStr for ServerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("unix", path)) if path.starts_with('/') && !path.contains('\0') => Ok(Self::Unix(path.into())),
            Some(("tcp", rest)) => {
                let (host, port) = match rest.rsplit_once(':') {
                    // The colons of an IPv6 address without a port.
                    Some((_, last)) if last.ends_with(']') => (rest, None),
                    Some((host, port)) => (host, Some(port)),
                    None => (rest, None),
                };
                let port = match port {
                    None => PORT,
                    Some(port) => port.parse().map_err(|_| format!("`{port}` is not a TCP port"))?,
                };
                if host.is_empty() || (host.contains(':') && !host.starts_with('[')) {
                    return Err(format!("`{rest}` is not HOST or HOST:PORT; an IPv6 address stands in brackets"));
                }
                Ok(Self::Tcp(host.into(), port))
            }
            _ => Err(format!("`{text}` is no server: it is unix:/PATH or tcp:HOST[:PORT]")),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(host, PORT) => write!(f, "tcp:{host}"),
            Self::Tcp(host, port) => write!(f, "tcp:{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_and_written_back() {
        for text in ["unix:/run/pulse/native", "tcp:sound.lan", "tcp:10.0.0.1:4000", "tcp:[::1]", "tcp:[::1]:99"] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), text);
        }
        assert_eq!("tcp:x:4713".parse::<ServerAddress>().unwrap().to_string(), "tcp:x");
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in ["", "x", "unix:relative", "tcp:", "tcp:x:y", "tcp:x:70000", "tcp:::1", "udp:x"] {
            assert!(text.parse::<ServerAddress>().is_err(), "{text}");
        }
    }
}
