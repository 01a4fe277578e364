//! Text of the manual pages of `vsnd` beside the command line: examples, files, variables, exit statuses.

use program::ExitStatus as S;
use program::manual::{Entry, Sections};

const XEN: Entry = ("VSND_XEN", "the Xen, as --xen: `dev` or `emu:DIR`");
const SOCKET: Entry = ("VSND_SOCKET", "the daemon's control socket, as --socket");
const STORE: Entry = ("XENSTORED_PATH", "the socket of XenStore, instead of the usual ones");
const CONTROL: Entry = ("/run/vsnd/control.sock", "the daemon's control socket; DIR/control.sock in an emulation");
const LOCK: Entry =
    ("/run/vsnd-card-N.lock", "locked by the program that uses the card; DIR/domain-N-card-C.lock in an emulation");

const CONTROL_STATUSES: &[S] = &[S::Success, S::Failure, S::Usage, S::NoCard, S::NoDaemon, S::File, S::Lost, S::Denied];
const GUEST: &[S] = &[
    S::Success,
    S::Failure,
    S::Usage,
    S::NoXen,
    S::NoCard,
    S::NoDaemon,
    S::File,
    S::HostDevice,
    S::Unsupported,
    S::Lost,
    S::Busy,
];

/// Sections for commands that ask the daemon.
const fn control(examples: &'static [Entry]) -> Sections<'static> {
    Sections {
        examples,
        files: &[CONTROL],
        environment: &[XEN, SOCKET],
        statuses: CONTROL_STATUSES,
        see_also: &["vsnd(1)", "vsndd(8)", "vsndd.toml(5)"],
    }
}

/// Sections for commands that act as a guest.
const fn guest(examples: &'static [Entry]) -> Sections<'static> {
    Sections {
        examples,
        files: &[LOCK],
        environment: &[XEN],
        statuses: GUEST,
        see_also: &["vsnd(1)", "vsnd-doctor(1)"],
    }
}

/// Sections for commands that change an emulation.
const fn emulation(examples: &'static [Entry]) -> Sections<'static> {
    Sections {
        examples,
        files: &[("DIR/xenstored.sock", "the emulation's XenStore")],
        environment: &[("VSND_XEN", "emu:DIR, instead of --dir")],
        statuses: &[S::Success, S::Failure, S::Usage, S::NoXen, S::NoCard, S::NoDaemon, S::File],
        see_also: &["vsnd-emu(1)", "xl.cfg(5)"],
    }
}

/// The sections of a command's page; `None` for a command that has none yet.
pub(crate) fn sections(command: &str) -> Option<Sections<'static>> {
    Some(match command {
        "vsnd" => Sections {
            examples: &[
                ("vsnd demo", "plays and records a file on an emulated Xen, and compares both"),
                ("vsnd doctor", "lists what is missing for sound, and the next step"),
                ("vsnd top", "shows the daemon's streams live"),
                ("vsnd mute '*'", "silences every guest"),
            ],
            files: &[CONTROL, LOCK],
            environment: &[
                XEN,
                SOCKET,
                ("NO_COLOR", "no colours, if it is not empty"),
                ("TZ", "the time zone of events"),
            ],
            statuses: &[
                S::Success,
                S::Failure,
                S::Usage,
                S::Config,
                S::NoXen,
                S::NoCard,
                S::NoDaemon,
                S::File,
                S::HostDevice,
                S::Unsupported,
                S::Lost,
                S::Denied,
                S::Busy,
            ],
            see_also: &["vsndd(8)", "vsndd.toml(5)", "xl.cfg(5)"],
        },
        "vsnd-demo" => Sections {
            examples: &[
                ("vsnd demo", "plays a recording of alsa-utils into a WAV file, records it back, and compares both"),
                ("vsnd demo song.flac --sink alsa:default", "plays a file of yours to a real device"),
                ("vsnd demo --protocol v0 --json", "does the same as a guest of 2015, and prints the result as JSON"),
            ],
            files: &[("/usr/share/sounds/alsa/Front_Center.wav", "the file that is played without FILE")],
            environment: &[("TMPDIR", "the place of a temporary directory, which is removed at the end")],
            statuses: GUEST,
            see_also: &["vsnd-emu(1)", "vsndd(8)"],
        },
        "vsnd-play" => guest(&[
            ("vsnd play song.flac", "plays a file on card 0"),
            ("sox in.ogg -t wav - | vsnd play -", "plays standard input"),
            ("vsnd play x.wav --volume -6dB --period-ms 5", "plays a file at half its amplitude, with short periods"),
        ]),
        "vsnd-record" => guest(&[
            ("vsnd record heard.wav --seconds 5", "records five seconds into a new file"),
            ("vsnd record - --channels 1 | sox -t wav - heard.ogg", "records to standard output, until interrupted"),
        ]),
        "vsnd-emu" => Sections {
            examples: &[
                ("vsnd emu --dir /tmp/xen", "runs an emulated Xen until it is interrupted"),
                (
                    "vsnd emu --dir /tmp/xen attach --domain 1 \"vsnd=[['CARD', 'PCM', 'STREAM, type=p']]\"",
                    "gives guest 1 a card with a stream for playback",
                ),
                ("XENSTORED_PATH=/tmp/xen/xenstored.sock xenstore-ls", "shows its XenStore with Xen's own tools"),
            ],
            files: &[
                ("DIR/hypervisor.sock", "the socket that domains connect to"),
                ("DIR/xenstored.sock", "XenStore, as domain 0 sees it"),
                ("DIR/lock", "locked by the emulation while it runs"),
            ],
            environment: &[("VSND_XEN", "emu:DIR, instead of --dir")],
            statuses: &[S::Success, S::Failure, S::Usage, S::NoXen, S::NoCard, S::NoDaemon, S::File],
            see_also: &["vsnd-demo(1)", "vsndd(8)", "xl.cfg(5)"],
        },
        "vsnd-emu-attach" => emulation(&[
            (
                "vsnd emu attach --dir /tmp/xen --domain 1 \"vsnd=[['CARD', 'PCM', 'STREAM, type=p']]\"",
                "gives guest 1 a card with a stream for playback",
            ),
            (
                "vsnd emu attach --domain 2 --protocol v0 \"vsnd=[['CARD', 'PCM', 'STREAM, type=c']]\"",
                "gives guest 2 a card to record from, of the protocol of 2015",
            ),
        ]),
        "vsnd-emu-detach" => emulation(&[
            ("vsnd emu detach --dir /tmp/xen --domain 1", "removes all cards of guest 1"),
            ("vsnd emu detach --domain 1 --card 0", "removes only the first one"),
        ]),
        "vsnd-emu-list" => emulation(&[("vsnd emu list --dir /tmp/xen --domain 1", "shows the cards of guest 1")]),
        "vsnd-list" => control(&[
            ("vsnd list", "shows guests, cards and streams"),
            ("vsnd list --json | jq '.guests[].name'", "prints the names of the guests, for programs"),
        ]),
        "vsnd-top" => control(&[
            ("vsnd top", "shows the streams live; ? shows the keys"),
            ("vsnd top --json --interval 10", "prints a status with levels every ten seconds"),
        ]),
        "vsnd-volume" => control(&[
            ("vsnd volume studio", "shows the volumes of a guest's streams"),
            ("vsnd volume studio =-6dB", "sets them to -6 dB"),
            ("vsnd volume studio/0/0/0 +3dB", "raises the volume of one stream by 3 dB"),
            (
                "vsnd volume 'untrusted-*' 50%",
                "sets the volumes of several guests, in percent as sound servers show them",
            ),
        ]),
        "vsnd-mute" => control(&[
            ("vsnd mute studio", "silences a guest, which does not notice it"),
            ("vsnd mute '*'", "silences every guest"),
        ]),
        "vsnd-unmute" => control(&[("vsnd unmute studio/0/0/0", "unmutes one stream")]),
        "vsnd-allow-capture" => control(&[
            ("vsnd allow-capture studio", "lets a guest capture"),
            (
                "vsnd allow-capture studio --for 10m",
                "lets it capture for ten minutes, then restores the earlier setting",
            ),
        ]),
        "vsnd-deny-capture" => control(&[("vsnd deny-capture '*'", "forbids every guest to capture")]),
        "vsnd-disconnect" => control(&[
            ("vsnd disconnect studio/0", "makes a guest's card connect again, for instance if its driver is stuck"),
            ("vsnd disconnect studio", "does the same with all of its cards"),
        ]),
        "vsnd-move" => Sections {
            statuses: &[
                S::Success,
                S::Failure,
                S::Usage,
                S::NoCard,
                S::NoDaemon,
                S::File,
                S::HostDevice,
                S::Lost,
                S::Denied,
            ],
            ..control(&[
                ("vsnd move studio alsa:hw:1,0", "moves a guest's playback to another sound card, also while it plays"),
                (
                    "vsnd move studio pulse@unix:/run/user/1000/pulse/native --source",
                    "moves its capture to another device",
                ),
                ("vsnd forget studio", "moves the guest back to the devices of the configuration"),
            ])
        },
        "vsnd-devices" => Sections {
            examples: &[
                ("vsnd devices", "lists the host's devices, as the configuration and `vsnd move` name them"),
                ("vsnd devices --json | jq -r 'select(.sink).device'", "prints only those to play to, for programs"),
            ],
            environment: &[
                ("PULSE_SERVER, PULSE_COOKIE", "the usual PulseAudio server, and its cookie"),
                ("PIPEWIRE_REMOTE, PIPEWIRE_RUNTIME_DIR, XDG_RUNTIME_DIR", "the usual PipeWire server"),
            ],
            files: &[("/run/user/UID", "the sockets of the sound servers of users' sessions")],
            statuses: &[S::Success, S::Usage, S::File],
            see_also: &["vsnd-move(1)", "vsndd.toml(5)"],
        },
        "vsnd-forget" => Sections {
            files: &[CONTROL, ("/var/lib/vsnd/overrides.json", "the overrides; in DIR in an emulation")],
            ..control(&[
                ("vsnd forget", "shows the overrides that are kept"),
                ("vsnd forget studio", "removes the overrides of a guest, so that the configuration applies"),
                ("vsnd forget '*'", "removes the overrides of all guests, also of those that do not run"),
            ])
        },
        "vsnd-reload" => Sections {
            statuses: &[S::Success, S::Failure, S::Usage, S::Config, S::NoDaemon, S::File, S::Lost, S::Denied],
            ..control(&[("vsnd reload", "makes the daemon read its configuration again, and shows the mistakes in it")])
        },
        "vsnd-events" => control(&[
            ("vsnd events", "shows the latest events"),
            ("vsnd events studio --kind xrun,lost", "shows those of one guest, and only of these kinds"),
            ("vsnd events --follow --json", "also prints each new event, as JSON for programs"),
        ]),
        "vsnd-doctor" => Sections {
            examples: &[
                ("vsnd doctor", "checks everything on the path of a frame"),
                ("vsnd doctor --xen emu:/tmp/xen --json", "checks an emulation, and prints JSON for programs"),
            ],
            files: &[("/etc/vsnd/vsndd.toml", "the configuration"), CONTROL],
            environment: &[XEN, STORE, ("NO_COLOR", "no colours, if it is not empty")],
            statuses: &[S::Success, S::Failure, S::Usage, S::NoXen, S::File],
            see_also: &["vsnd(1)", "vsndd(8)", "vsndd.toml(5)"],
        },
        "vsnd-completions" => Sections {
            examples: &[
                ("source <(vsnd completions bash)", "loads the completions into this shell"),
                ("vsnd completions fish | source", "does the same in fish"),
            ],
            files: &[
                ("/usr/share/bash-completion/completions/vsnd", "the completions for bash, in the package vsnd-tools"),
                ("/usr/share/zsh/vendor-completions/_vsnd", "the completions for zsh"),
                ("/usr/share/fish/vendor_completions.d/vsnd.fish", "the completions for fish"),
            ],
            environment: &[XEN, SOCKET, ("VSND_COMPLETE", "set by the completion scripts when they ask for words")],
            statuses: &[S::Success, S::Usage, S::File],
            see_also: &["vsnd(1)"],
        },
        _ => return None,
    })
}
