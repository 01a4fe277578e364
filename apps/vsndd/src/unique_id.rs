//! The `unique-id` nodes of the field, from which EPAM's backend reads a stream's device.
//!
//! `pulse`, `pulse<SINK>`, `pulse<SINK>PROPERTY:VALUE` or `alsa<PCM>`, the latter with `;` in the place of `,`, which
//! xl.cfg keeps for itself. The property, a role for the server's policy, is ignored.

use host_audio::DeviceSpec;

/// The device that a `unique-id` names, if it is of that syntax.
pub(crate) fn device(unique_id: &str) -> Option<DeviceSpec> {
    let (kind, name) = match unique_id.split_once('<') {
        None => (unique_id, None),
        Some((kind, rest)) => (kind, Some(rest.split_once('>')?.0).filter(|name| !name.is_empty())),
    };
    let spec = match (kind.to_ascii_lowercase().as_str(), name) {
        ("pulse", None) => "pulse".to_owned(),
        ("pulse", Some(sink)) if !sink.contains('@') => format!("pulse:{sink}"),
        ("alsa", None) => "alsa:default".to_owned(),
        ("alsa", Some(pcm)) if is_harmless(pcm) => format!("alsa:{}", pcm.replace(';', ",")),
        _ => return None,
    };
    spec.parse().ok()
}

/// Returns true if a PCM's name is that of a device or of a definition, not one that makes ALSA open a file (`file:`,
/// `tee:`).
fn is_harmless(pcm: &str) -> bool {
    const KINDS: [&str; 6] = ["default", "sysdefault", "hw", "plughw", "dmix", "dsnoop"];
    let kind_is_fine = pcm.split_once(':').is_none_or(|(kind, _)| KINDS.contains(&kind));
    kind_is_fine && pcm.chars().all(|c| c.is_ascii_alphanumeric() || ":;=._-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_ids_name_devices() {
        for (id, named) in [
            ("pulse", Some("pulse")),
            ("PULSE<music>", Some("pulse:music")),
            ("pulse<music>media.role:navi", Some("pulse:music")),
            ("alsa<hw:0;0>", Some("alsa:hw:0,0")),
            ("alsa", Some("alsa:default")),
            ("pulse<a@tcp:evil>", None),
            ("pulse<open", None),
            ("alsa<file:/etc/passwd;raw>", None),
            ("alsa<plug:SLAVE='file:/etc/passwd;raw'>", None),
            ("wav<x>", None),
            ("0", None),
            ("", None),
        ] {
            assert_eq!(device(id).map(|device| device.to_string()).as_deref(), named, "{id}");
        }
    }
}
