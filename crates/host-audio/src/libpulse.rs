//! Environment of libpulse, which ALSA's plugin and ALSA's own configuration use.
//!
//! The library makes a cookie if it finds none, and a directory for the sockets of the user's server if there is none.
//! A program that only looks must not leave them behind. Where the library may not make them, as in the daemon's
//! sandbox, it prints an error for each stream. A server that asks for a cookie wants its own, and would not accept
//! that one either; a directory that is made has no server in it.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Environment variable that names the cookie's file.
const COOKIE: &str = "PULSE_COOKIE";
/// A cookie of zeros, as good as none.
const NO_COOKIE: &str = "/dev/zero";
/// Environment variable that names the server.
const SERVER: &str = "PULSE_SERVER";
/// The server of the whole machine, which the library tries last.
const MACHINE: &str = "unix:/run/pulse/native";
/// Environment variable that names a directory for sockets, which the library makes where it is missing.
pub const SESSION: &str = "XDG_RUNTIME_DIR";
/// Environment variable that names the directory of PulseAudio's sockets.
pub const SOCKETS: &str = "PULSE_RUNTIME_PATH";
/// Directory of the library's configuration, which may name cookie and server as well.
const CONFIGURATION: &str = "/etc/pulse";

/// Has the library make nothing: where it would, starts this program once more, in another environment. Returns then
/// only if that fails. `other_user` is true if the process will become another user, who cannot read the home
/// directory.
///
/// # Errors
/// The program cannot be started.
pub fn leave_nothing(other_user: bool) -> io::Result<()> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let unset = |name: &str| std::env::var_os(name).is_none();
    let places = Places {
        home: variable("HOME").filter(|_| !other_user),
        configured_home: variable("XDG_CONFIG_HOME").filter(|path| path.is_absolute() && !other_user),
        configuration: CONFIGURATION.into(),
    };
    let mut missing: Vec<(&str, &str)> = Vec::new();
    if unset(COOKIE) && !places.have_cookie() {
        missing.push((COOKIE, NO_COOKIE));
    }
    let in_session = variable(SESSION).is_some_and(|session| session.join("pulse").is_dir());
    if unset(SERVER) && unset(SOCKETS) && !in_session && !places.have_server() {
        missing.push((SERVER, MACHINE));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    Err(Command::new("/proc/self/exe").arg0(name).args(arguments).envs(missing).exec())
}

/// Places in which the library looks.
struct Places {
    home: Option<PathBuf>,
    /// Directory of the user's configuration, if it is not that at home.
    configured_home: Option<PathBuf>,
    configuration: PathBuf,
}

impl Places {
    fn have_cookie(&self) -> bool {
        let cookies = self.own().map(|directory| directory.join("cookie")).chain(self.at_home(".pulse-cookie"));
        cookies.into_iter().any(|path| path.exists()) || self.configure("cookie-file")
    }

    /// Returns true if the configuration names a server, or the user has a directory for sockets without a session: a
    /// link that is called after the machine.
    fn have_server(&self) -> bool {
        let is_link = |path: &Path| path.to_string_lossy().ends_with("-runtime") && path.is_dir();
        let mut entries = self.own().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten().flatten();
        entries.any(|entry| is_link(&entry.path())) || self.configure("default-server")
    }

    fn at_home(&self, name: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(name))
    }

    /// The library's directories of the user.
    fn own(&self) -> impl Iterator<Item = PathBuf> {
        let configured = self.configured_home.as_ref().map(|directory| directory.join("pulse"));
        let first = configured.or_else(|| self.at_home(".config/pulse"));
        first.into_iter().chain(self.at_home(".pulse"))
    }

    /// Returns true if the library's configuration sets `key`.
    fn configure(&self, key: &str) -> bool {
        let directories = self.own().chain([self.configuration.clone()]);
        directories.flat_map(|directory| files(&directory)).any(|file| sets(&file, key))
    }
}

/// Files of the library's configuration in `directory`.
fn files(directory: &Path) -> Vec<PathBuf> {
    let parts = std::fs::read_dir(directory.join("client.conf.d")).into_iter().flatten().flatten();
    let parts = parts.map(|entry| entry.path()).filter(|path| path.extension() == Some(OsStr::new("conf")));
    std::iter::once(directory.join("client.conf")).chain(parts).collect()
}

fn sets(file: &Path, key: &str) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().any(|line| line.trim_start().starts_with(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_that_there_is_or_that_is_configured_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (home, nowhere) = (dir.path(), Path::new("/no/such/place"));
        let have = |home: Option<&Path>, configuration: &Path| {
            let home = home.map(Path::to_owned);
            Places { home, configured_home: None, configuration: configuration.to_owned() }.have_cookie()
        };
        assert!(!have(None, nowhere) && !have(Some(home), nowhere));
        let parts = home.join("client.conf.d");
        std::fs::create_dir_all(&parts).unwrap();
        std::fs::write(home.join("client.conf"), "; cookie-file =\nautospawn = no\n").unwrap();
        assert!(!have(None, home));
        std::fs::write(parts.join("x.conf"), " cookie-file = /x\n").unwrap();
        assert!(have(None, home));
        std::fs::create_dir_all(home.join(".config/pulse")).unwrap();
        std::fs::write(home.join(".config/pulse/cookie"), "").unwrap();
        assert!(have(Some(home), nowhere) && !have(None, nowhere));
        let configured =
            Places { home: None, configured_home: Some(home.join(".config")), configuration: nowhere.to_owned() };
        assert!(configured.have_cookie());
    }

    #[test]
    fn a_server_that_is_configured_or_that_may_be_there_is_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path();
        let places = |configuration: &str| Places {
            home: Some(home.to_owned()),
            configured_home: None,
            configuration: home.join(configuration),
        };
        assert!(!places("etc").have_server());
        std::fs::create_dir_all(home.join("etc")).unwrap();
        std::fs::write(home.join("etc/client.conf"), "default-server = tcp:sound.lan\n").unwrap();
        assert!(places("etc").have_server() && !places("none").have_server());
        let link = home.join(".config/pulse/0123-runtime");
        std::fs::create_dir_all(home.join(".config/pulse")).unwrap();
        std::os::unix::fs::symlink(home.join("sockets"), &link).unwrap();
        assert!(!places("none").have_server(), "the link leads nowhere");
        std::fs::create_dir(home.join("sockets")).unwrap();
        assert!(places("none").have_server());
    }
}
