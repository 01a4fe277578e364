//! Sound servers of users' sessions, and the packaged service's door to them (`vsnd-desktop`).

use std::path::Path;

/// Directory of the sessions' servers, each in a directory that its user alone may enter.
const SESSIONS: &str = "/run/user";
/// Directory of the doors.
const DOORS: &str = "/run/vsnd-desktop";

/// Advice for a server at `path` that cannot be reached, if the server is another user's, or behind a door.
pub(crate) fn hint(path: &Path) -> Option<&'static str> {
    if path.starts_with(DOORS) {
        return Some(
            "`systemctl enable --now vsnd-desktop@USER.socket` opens the way to a user's session, \
             `journalctl -u 'vsnd-desktop@*'` says whether that user is logged in",
        );
    }
    let mut session = path.strip_prefix(SESSIONS).ok()?.components();
    let user = session.next()?.as_os_str().to_str()?;
    (user != rustix::process::getuid().as_raw().to_string()).then_some(
        "the service reaches a user's session through `systemctl enable --now vsnd-desktop@USER.socket` and \
         `pulse@unix:/run/vsnd-desktop/USER`",
    )
}

/// Returns true if `path` is a door, which denies capture unless it is told otherwise.
pub(crate) fn is_door(path: &Path) -> bool {
    path.starts_with(DOORS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_users_session_is_reached_through_the_door() {
        let own = rustix::process::getuid().as_raw();
        let other = own + 1;
        let said = |path: &str| hint(Path::new(path)).unwrap_or_default();
        assert!(said(&format!("/run/user/{other}/pulse/native")).contains("pulse@unix:/run/vsnd-desktop/USER"));
        assert!(said(&format!("/run/user/{other}/pipewire-0")).contains("enable --now vsnd-desktop@USER.socket"));
        assert!(said("/run/vsnd-desktop/alice").contains("journalctl -u 'vsnd-desktop@*'"));
        for path in [format!("/run/user/{own}/pulse/native"), "/run/pulse/native".into(), "/run/user".into()] {
            assert_eq!(hint(Path::new(&path)), None, "{path}");
        }
    }
}
