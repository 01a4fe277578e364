//! The manual pages: vsndd(8), and vsndd.toml(5), which is the commented example of the configuration.

use std::io;

use clap::Command;
use config::EXAMPLE;
use program::ExitStatus as S;
use program::manual::{Sections, file_page, page};

const SECTIONS: Sections<'static> = Sections {
    examples: &[
        ("vsndd --check-config", "says whether the daemon would start with its configuration"),
        ("systemctl reload vsndd", "makes the service read its configuration again, without an effect on what plays"),
        ("vsndd --xen emu:/tmp/xen --sink alsa:default", "serves an emulated Xen and plays to a real device"),
        ("vsndd --sink pulse@unix:/run/user/1000/pulse/native", "plays to the sound server of a user"),
    ],
    files: &[
        ("/etc/vsnd/vsndd.toml", "the configuration"),
        ("/run/vsnd/control.sock", "the socket for `vsnd`; root and the group vsnd may use it"),
        ("/var/lib/vsnd/overrides.json", "settings that were made with `vsnd`, in the directory of --state-dir"),
        ("/var/lib/vsnd/overrides.damaged", "an overrides.json that could not be read, under another name"),
        ("/var/lib/vsnd/recordings", "directory that the service's WAV sinks may write to"),
    ],
    environment: &[
        ("VSND_XEN", "the Xen, as --xen"),
        ("VSND_LOG", "the messages to log, as --log"),
        ("STATE_DIRECTORY", "the directory of the overrides, as --state-dir; set by systemd"),
        (
            "PULSE_SERVER, PULSE_RUNTIME_PATH, XDG_RUNTIME_DIR, PULSE_COOKIE",
            "the PulseAudio server of a device that names none, and its cookie",
        ),
        ("PIPEWIRE_REMOTE, PIPEWIRE_RUNTIME_DIR, XDG_RUNTIME_DIR", "the PipeWire server of a device that names none"),
    ],
    statuses: &[S::Success, S::Failure, S::Usage, S::Config, S::NoXen, S::File, S::Lost, S::Busy],
    see_also: &["vsndd.toml(5)", "vsnd(1)", "vsnd-doctor(1)", "xl.cfg(5)"],
};

const FILE_SECTIONS: Sections<'static> = Sections {
    examples: &[
        (
            "sink = \"pulse@unix:/run/vsnd-desktop/alice\"",
            "all guests play to the sound server of alice's session (vsnd-desktop@alice.socket)",
        ),
        ("rule = [{ domain = \"studio\", capture = true }]", "the guest studio may capture"),
        ("vsndd --check-config --config new.toml", "checks a file that is not in use yet"),
    ],
    files: &[("/etc/vsnd/vsndd.toml", "the service's configuration")],
    environment: &[("VSND_XEN, VSND_LOG", "replace options of vsndd(8); the file has no keys for them")],
    statuses: &[S::Success, S::Config],
    see_also: &["vsndd(8)", "vsnd(1)"],
};

/// vsndd(8).
pub(crate) fn daemon(command: &Command) -> io::Result<Vec<u8>> {
    page(command, "8", &SECTIONS)
}

/// vsndd.toml(5).
pub(crate) fn configuration() -> String {
    let words = "The daemon vsndd(8) reads this file when it starts, and at each reload. The keys at the top of the file apply to every \
        stream; each [[rule]] that matches a stream replaces the keys that it contains.\n\nThe file is TOML. The example below has every \
        key and its meaning; keys behind a # are optional. `vsndd --check-config` finds all mistakes at once.";
    file_page("vsndd.toml", "configuration of the sound daemon for Xen guests", words, EXAMPLE, &FILE_SECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_configuration_has_every_line_of_the_example() {
        let page = configuration();
        assert!(page.contains(".TH VSNDD.TOML 5"), "{page}");
        for line in EXAMPLE.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase())) {
            let key = line.split(' ').next().unwrap_or_default().replace('-', "\\-");
            assert!(page.contains(&key), "{key}");
        }
    }
}
