//! Text of the manual pages of `vsnd` beside the command line: examples, files, variables, exit statuses.

use program::ExitStatus as S;
use program::manual::{Entry, Sections};

const XEN: Entry = ("VSND_XEN", "the Xen, as --xen: `dev` or `emu:DIR`");
const SOCKET: Entry = ("VSND_SOCKET", "the daemon's control socket, as --socket");
const STORE: Entry = ("XENSTORED_PATH", "where XenStore's socket is, in place of its usual places");
const CONTROL: Entry = ("/run/vsnd/control.sock", "where the daemon listens; DIR/control.sock in an emulation");
const LOCK: Entry =
    ("/run/vsnd-card-N.lock", "held by the program that uses the card; in an emulation DIR/domain-N-card-C.lock");

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
        files: &[("DIR/xenstored.sock", "XenStore, which is written to")],
        environment: &[("VSND_XEN", "emu:DIR, in place of --dir")],
        statuses: &[S::Success, S::Failure, S::Usage, S::NoXen, S::NoCard, S::NoDaemon, S::File],
        see_also: &["vsnd-emu(1)", "xl.cfg(5)"],
    }
}

/// The sections of a command's page; `None` for a command that has none yet.
pub(crate) fn sections(command: &str) -> Option<Sections<'static>> {
    Some(match command {
        "vsnd" => Sections {
            examples: &[
                ("vsnd demo", "plays and records a file on an emulated Xen, and compares"),
                ("vsnd doctor", "says what is missing for sound, and the next step"),
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
                ("vsnd demo song.flac --sink alsa:default", "lets you hear a file of yours"),
                ("vsnd demo --protocol v0 --json", "as a guest of 2015, with the result as JSON"),
            ],
            files: &[("/usr/share/sounds/alsa/Front_Center.wav", "what is played where no FILE is given")],
            environment: &[("TMPDIR", "where its directory is made; that is removed at the end")],
            statuses: GUEST,
            see_also: &["vsnd-emu(1)", "vsndd(8)"],
        },
        "vsnd-play" => guest(&[
            ("vsnd play song.flac", "plays a file on card 0"),
            ("sox in.ogg -t wav - | vsnd play -", "plays standard input"),
            ("vsnd play x.wav --volume -6dB --period-ms 5", "at half the amplitude, with short periods"),
        ]),
        "vsnd-record" => guest(&[
            ("vsnd record heard.wav --seconds 5", "records five seconds into a new file"),
            ("vsnd record - --channels 1 | sox -t wav - heard.ogg", "writes to standard output"),
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
                ("DIR/hypervisor.sock", "domains connect here"),
                ("DIR/xenstored.sock", "XenStore, as domain 0 sees it"),
                ("DIR/lock", "held by the emulation that runs"),
            ],
            environment: &[("VSND_XEN", "emu:DIR, in place of --dir")],
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
                "gives guest 2 one to record from, as guests of 2015 have it",
            ),
        ]),
        "vsnd-emu-detach" => emulation(&[
            ("vsnd emu detach --dir /tmp/xen --domain 1", "takes all cards of guest 1 away"),
            ("vsnd emu detach --domain 1 --card 0", "only the first one"),
        ]),
        "vsnd-emu-list" => emulation(&[("vsnd emu list --dir /tmp/xen --domain 1", "shows the cards of guest 1")]),
        "vsnd-list" => control(&[
            ("vsnd list", "shows guests, cards and streams"),
            ("vsnd list --json | jq '.guests[].name'", "for programs"),
        ]),
        "vsnd-top" => control(&[
            ("vsnd top", "shows the streams live; ? shows the keys"),
            ("vsnd top --json --interval 10", "a status with levels every ten seconds"),
        ]),
        "vsnd-volume" => control(&[
            ("vsnd volume studio", "shows the volumes of a guest's streams"),
            ("vsnd volume studio =-6dB", "sets them"),
            ("vsnd volume studio/0/0/0 +3dB", "makes one stream louder"),
            ("vsnd volume 'untrusted-*' 50%", "sets those of several guests, in percent as sound servers show them"),
        ]),
        "vsnd-mute" => control(&[
            ("vsnd mute studio", "silences a guest, which notices nothing"),
            ("vsnd mute '*'", "silences every guest"),
        ]),
        "vsnd-unmute" => control(&[("vsnd unmute studio/0/0/0", "lets a stream be heard again")]),
        "vsnd-allow-capture" => control(&[
            ("vsnd allow-capture studio", "lets a guest hear what the host hears"),
            ("vsnd allow-capture studio --for 10m", "for ten minutes; then holds what held before"),
        ]),
        "vsnd-deny-capture" => control(&[("vsnd deny-capture '*'", "lets no guest capture")]),
        "vsnd-disconnect" => control(&[
            ("vsnd disconnect studio/0", "has a guest's card connect again, for instance when its driver is stuck"),
            ("vsnd disconnect studio", "the same for all of its cards"),
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
                ("vsnd move studio alsa:hw:1,0", "has a guest play to another card, also in the middle of a sound"),
                ("vsnd move studio pulse@unix:/run/user/1000/pulse/native --source", "moves what it captures from"),
                ("vsnd forget studio", "moves it back to where the configuration has it"),
            ])
        },
        "vsnd-devices" => Sections {
            examples: &[
                ("vsnd devices", "lists what the host has, in words for the configuration and for `vsnd move`"),
                ("vsnd devices --json | jq -r 'select(.sink).device'", "only those to play to, for programs"),
            ],
            environment: &[
                ("PULSE_SERVER, PULSE_COOKIE", "the usual PulseAudio server, and its cookie"),
                ("PIPEWIRE_REMOTE, PIPEWIRE_RUNTIME_DIR, XDG_RUNTIME_DIR", "the usual PipeWire server"),
            ],
            files: &[("/run/user/UID", "where the servers of users' sessions listen")],
            statuses: &[S::Success, S::Usage, S::File],
            see_also: &["vsnd-move(1)", "vsndd.toml(5)"],
        },
        "vsnd-forget" => Sections {
            files: &[CONTROL, ("/var/lib/vsnd/overrides.json", "where the daemon keeps it; in an emulation in DIR")],
            ..control(&[
                ("vsnd forget", "shows what was set with `vsnd` and is kept"),
                ("vsnd forget studio", "has the configuration hold again for a guest"),
                ("vsnd forget '*'", "for all of them, also those that do not run"),
            ])
        },
        "vsnd-reload" => Sections {
            statuses: &[S::Success, S::Failure, S::Usage, S::Config, S::NoDaemon, S::File, S::Lost, S::Denied],
            ..control(&[("vsnd reload", "has the daemon read its configuration again, and shows the mistakes in it")])
        },
        "vsnd-events" => control(&[
            ("vsnd events", "shows what happened lately"),
            ("vsnd events studio --kind xrun,lost", "of one guest, and only of these kinds"),
            ("vsnd events --follow --json", "and what happens from now on, for programs"),
        ]),
        "vsnd-doctor" => Sections {
            examples: &[
                ("vsnd doctor", "looks at everything on the way of a frame"),
                ("vsnd doctor --xen emu:/tmp/xen --json", "in an emulation, for programs"),
            ],
            files: &[("/etc/vsnd/vsndd.toml", "the configuration that is looked at"), CONTROL],
            environment: &[XEN, STORE, ("NO_COLOR", "no colours, if it is not empty")],
            statuses: &[S::Success, S::Failure, S::Usage, S::NoXen, S::File],
            see_also: &["vsnd(1)", "vsndd(8)", "vsndd.toml(5)"],
        },
        "vsnd-completions" => Sections {
            examples: &[
                ("source <(vsnd completions bash)", "tries them in this shell"),
                ("vsnd completions fish | source", "the same in fish"),
            ],
            files: &[
                ("/usr/share/bash-completion/completions/vsnd", "bash's, as the package vsnd-tools has it"),
                ("/usr/share/zsh/vendor-completions/_vsnd", "zsh's"),
                ("/usr/share/fish/vendor_completions.d/vsnd.fish", "fish's"),
            ],
            environment: &[XEN, SOCKET, ("VSND_COMPLETE", "set by the script that is written, when it asks for words")],
            statuses: &[S::Success, S::Usage, S::File],
            see_also: &["vsnd(1)"],
        },
        _ => return None,
    })
}
