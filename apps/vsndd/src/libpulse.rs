//! Environment of libpulse in the sandbox, which ALSA's plugin and ALSA's own configuration use.
//!
//! The library makes a cookie if it finds none, and a directory for the sockets of the user's server if there is none.
//! Where it may not, as in the sandbox, it prints an error for each stream. A server that asks for a cookie wants its
//! own, and would not accept that one either; a directory that is made has no server in it.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
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
/// Environment variables that name a directory for sockets, or for those of PulseAudio alone.
const SESSION: &str = "XDG_RUNTIME_DIR";
const SOCKETS: &str = "PULSE_RUNTIME_PATH";
/// Directory of the library's configuration, which may name cookie and server as well.
const CONFIGURATION: &str = "/etc/pulse";

/// Prepares everything that the library would make. Starts this program once more if that takes another environment.
/// `other_user` is true if the process will become another user, who cannot read the home directory.
pub(crate) fn prepare(other_user: bool) {
    let unset = |name: &str| std::env::var_os(name).is_none();
    if let Some(session) = std::env::var_os(SESSION).filter(|_| !other_user && unset(SOCKETS)) {
        make_directory(Path::new(&session));
    }
    let places = Places {
        home: std::env::var_os("HOME").filter(|_| !other_user).map(PathBuf::from),
        configuration: CONFIGURATION.into(),
    };
    let mut missing: Vec<(&str, &str)> = Vec::new();
    if unset(COOKIE) && !places.have_cookie() {
        missing.push((COOKIE, NO_COOKIE));
    }
    if [SERVER, SOCKETS, SESSION].into_iter().all(unset) && !places.have_server() {
        missing.push((SERVER, MACHINE));
    }
    if !missing.is_empty() {
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_else(|| "vsndd".into());
        let error = Command::new("/proc/self/exe").arg0(name).args(arguments).envs(missing).exec();
        tracing::debug!("cannot start again: {error}");
    }
}

/// Makes the directory for the sockets of a session's server, as the library does. A session of another user is none
/// of ours.
fn make_directory(session: &Path) {
    let own = rustix::process::geteuid().as_raw();
    if session.metadata().is_ok_and(|session| session.uid() == own) {
        // The directory usually exists. Without it, the library says so.
        let _ = DirBuilder::new().mode(0o700).create(session.join("pulse"));
    }
}

/// Places in which the library looks.
struct Places {
    home: Option<PathBuf>,
    configuration: PathBuf,
}

impl Places {
    fn have_cookie(&self) -> bool {
        let cookies = [".config/pulse/cookie", ".pulse-cookie"];
        cookies.iter().filter_map(|name| self.at_home(name)).any(|path| path.exists()) || self.configure("cookie-file")
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
        [".config/pulse", ".pulse"].into_iter().filter_map(|name| self.at_home(name))
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
            Places { home: home.map(Path::to_owned), configuration: configuration.to_owned() }.have_cookie()
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
    }

    #[test]
    fn a_server_that_is_configured_or_that_may_be_there_is_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path();
        let places =
            |configuration: &str| Places { home: Some(home.to_owned()), configuration: home.join(configuration) };
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
