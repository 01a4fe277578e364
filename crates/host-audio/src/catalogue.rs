//! Devices of a host to play to and to capture from, in the form of a [`DeviceSpec`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::pulse;
use crate::server_address::ServerAddress;
use crate::{DeviceOptions, DeviceSpec};

pub use crate::offer::Offer;

/// Directories of users' sessions, in which their sound servers listen.
const SESSIONS: &str = "/run/user";

/// Something that may have devices, such as a sound server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Description in words.
    pub title: String,
    /// Devices of the place, or the reason why they are not known.
    pub offers: Result<Vec<Offer>, String>,
}

/// Everything that this process can see: ALSA's PCMs, and the devices of the sound servers that `options` leave time to
/// answer.
#[must_use]
pub fn places(options: &DeviceOptions) -> Vec<Place> {
    let mut places = vec![always()];
    #[cfg(feature = "alsa")]
    places.push(Place { title: "ALSA".into(), offers: crate::alsa::offers() });
    let usual = ServerAddress::usual();
    let mut servers = vec![None];
    let others = session_sockets(Path::new(SESSIONS), "pulse/native").into_iter().map(ServerAddress::Unix);
    servers.extend(others.filter(|address| *address != usual).map(Some));
    for server in servers {
        let title = format!("PulseAudio, {}", server.as_ref().unwrap_or(&usual));
        places.push(Place { title, offers: pulse::offers(server.as_ref(), options) });
    }
    #[cfg(feature = "pipewire")]
    {
        let usual = crate::pipewire::usual();
        let mut sockets = vec![None];
        let others = session_sockets(Path::new(SESSIONS), "pipewire-0");
        sockets.extend(others.into_iter().filter(|path| *path != usual).map(Some));
        for socket in sockets {
            let title = format!("PipeWire, unix:{}", socket.as_deref().unwrap_or(&usual).display());
            places.push(Place { title, offers: crate::pipewire::offers(socket.as_deref(), options) });
        }
    }
    #[cfg(not(feature = "pipewire"))]
    if !session_sockets(Path::new(SESSIONS), "pipewire-0").is_empty() || own_session_has("pipewire-0") {
        let error = crate::Error::not_built("PipeWire").to_string();
        places.push(Place { title: "PipeWire".into(), offers: Err(error) });
    }
    places
}

/// Returns true if a server of this program's session listens at a socket of that name.
#[cfg(not(feature = "pipewire"))]
fn own_session_has(name: &str) -> bool {
    std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|directory| Path::new(&directory).join(name).exists())
}

/// Devices that need no hardware.
fn always() -> Place {
    let offer = |device: DeviceSpec, description: &str| Offer {
        device,
        description: description.to_owned(),
        playback: true,
        capture: true,
    };
    let offers = vec![
        offer(DeviceSpec::Null, "nothing: silence"),
        offer(
            DeviceSpec::Wav(PathBuf::from("PATH")),
            "a WAV file, with {domain}, {card}, {pcm} and {stream} in its path",
        ),
    ];
    Place { title: "always".into(), offers: Ok(offers) }
}

/// Sockets of that name in the directories of all sessions that can be seen.
fn session_sockets(sessions: &Path, name: &str) -> BTreeSet<PathBuf> {
    let directories = std::fs::read_dir(sessions).into_iter().flatten().flatten();
    directories.map(|directory| directory.path().join(name)).filter(|path| path.exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sockets_of_all_sessions_are_found() {
        let sessions = tempfile::tempdir().unwrap();
        for user in ["1000", "1001", "1002"] {
            std::fs::create_dir_all(sessions.path().join(user).join("pulse")).unwrap();
        }
        for user in ["1002", "1000"] {
            std::fs::write(sessions.path().join(user).join("pulse/native"), "").unwrap();
        }
        let found = session_sockets(sessions.path(), "pulse/native");
        let found: Vec<&Path> = found.iter().map(|path| path.strip_prefix(sessions.path()).unwrap()).collect();
        assert_eq!(found, [Path::new("1000/pulse/native"), Path::new("1002/pulse/native")]);
        assert!(session_sockets(Path::new("/no/such/place"), "x").is_empty());
    }

    #[test]
    fn every_offer_is_named_as_the_configuration_names_it() {
        let places = places(&DeviceOptions::default());
        let offers: Vec<&Offer> = places.iter().flat_map(|place| place.offers.iter().flatten()).collect();
        assert!(offers.iter().any(|offer| offer.device == DeviceSpec::Null));
        for offer in offers {
            assert_eq!(offer.device.to_string().parse(), Ok(offer.device.clone()));
            assert!(offer.playback || offer.capture, "{offer:?}");
        }
    }
}
