//! A cookie for ALSA's plugin for PulseAudio. The plugin's library makes a cookie if it finds none; where it may not,
//! as in the sandbox, it prints an error for each stream. A server that asks for a cookie wants its own, and would not
//! accept that one either.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Environment variable that names the cookie's file.
const VARIABLE: &str = "PULSE_COOKIE";
/// A cookie of zeros, as good as none.
const NONE: &str = "/dev/zero";
/// Directory of the library's configuration, which may name the file as well.
const CONFIGURATION: &str = "/etc/pulse";

/// Starts this program once more with a cookie, if it has none: only a new program gets another environment.
/// `other_user` is true if the process will become another user, who cannot read the home directory.
pub(crate) fn have_one(other_user: bool) {
    let home = std::env::var_os("HOME").filter(|_| !other_user).map(PathBuf::from);
    if std::env::var_os(VARIABLE).is_none() && is_missing(home.as_deref(), Path::new(CONFIGURATION)) {
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_else(|| "vsndd".into());
        let error = Command::new("/proc/self/exe").arg0(name).args(arguments).env(VARIABLE, NONE).exec();
        tracing::debug!("cannot start again: {error}");
    }
}

/// Returns true if the library would find no cookie.
fn is_missing(home: Option<&Path>, configuration: &Path) -> bool {
    let at_home = |name: &str| home.map(|home| home.join(name));
    let cookies = [".config/pulse/cookie", ".pulse-cookie"];
    let directories = [Some(configuration.to_owned()), at_home(".config/pulse"), at_home(".pulse")];
    !cookies.iter().filter_map(|name| at_home(name)).any(|path| path.exists())
        && !directories.iter().flatten().flat_map(|directory| files(directory)).any(|file| names_a_cookie(&file))
}

/// Files of the library's configuration in `directory`.
fn files(directory: &Path) -> Vec<PathBuf> {
    let parts = std::fs::read_dir(directory.join("client.conf.d")).into_iter().flatten().flatten();
    let parts = parts.map(|entry| entry.path()).filter(|path| path.extension() == Some(OsStr::new("conf")));
    std::iter::once(directory.join("client.conf")).chain(parts).collect()
}

fn names_a_cookie(file: &Path) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().any(|line| line.trim_start().starts_with("cookie-file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_that_there_is_or_that_is_configured_is_not_replaced() {
        let home = tempfile::tempdir().unwrap();
        let (home, nowhere) = (home.path(), Path::new("/no/such/place"));
        assert!(is_missing(None, nowhere) && is_missing(Some(home), nowhere));
        let parts = home.join("client.conf.d");
        std::fs::create_dir_all(&parts).unwrap();
        std::fs::write(home.join("client.conf"), "; cookie-file =\nautospawn = no\n").unwrap();
        assert!(is_missing(None, home));
        std::fs::write(parts.join("x.conf"), " cookie-file = /x\n").unwrap();
        assert!(!is_missing(None, home));
        std::fs::create_dir_all(home.join(".config/pulse")).unwrap();
        std::fs::write(home.join(".config/pulse/cookie"), "").unwrap();
        assert!(!is_missing(Some(home), nowhere) && is_missing(None, nowhere));
    }
}
