//! Properties with which ALSA's plugins for sound servers name a guest. By themselves the plugins name a stream after
//! the program, and they have no parameter for another name, so that a server would remember one volume for all guests.
//! Their libraries take properties from the environment, which each worker has for itself.

/// Environment variables and their values for the guest called `name`.
pub(super) fn properties(name: &str) -> [(&'static str, String); 2] {
    let identity = host_audio::identity(&plain(name));
    let words = ["application.name", "application.id", "module-stream-restore.id"];
    let properties = words.map(|word| format!("{word}=\"{identity}\"")).join(" ");
    // libpulse and PipeWire read the same syntax, but PipeWire wants braces around it.
    [("PULSE_PROP", properties.clone()), ("PIPEWIRE_ALSA", format!("{{ {properties} }}"))]
}

/// Replaces control characters, quotes and backslashes, which do not belong in a quoted word.
fn plain(name: &str) -> String {
    name.chars().map(|sign| if sign.is_control() || "\"\\".contains(sign) { '_' } else { sign }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_name_stays_within_its_quotes() {
        let [(_, pulse), (_, pipewire)] = properties("a\" media.role=\"music\\\n");
        assert!(pulse.starts_with("application.name=\"vsnd: a_ media.role=_music__\" "), "{pulse}");
        assert_eq!(pipewire, format!("{{ {pulse} }}"));
    }
}
