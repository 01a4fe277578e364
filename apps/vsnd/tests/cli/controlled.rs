//! `vsnd` and the real daemon: the administrator's requests take effect on a guest that plays.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sound_servers::{Kind, Server};

use crate::common::{Process, World, eventually, program, stderr, text};

/// A daemon with a configuration that can be changed.
pub struct Controlled {
    pub world: World,
    pub daemon: Option<Process>,
    arguments: Vec<&'static str>,
    environment: Vec<(&'static str, String)>,
}

impl Controlled {
    pub fn new(config: &str) -> Self {
        Self::within(config, Vec::new(), Vec::new())
    }

    /// A daemon with these arguments and environment variables.
    pub fn within(config: &str, arguments: Vec<&'static str>, environment: Vec<(&'static str, String)>) -> Self {
        let world = World::new();
        let mut controlled = Self { world, daemon: None, arguments, environment };
        controlled.configure(config);
        controlled.run();
        controlled
    }

    /// Ends the daemon, if it runs, and starts it.
    pub fn run(&mut self) {
        drop(self.daemon.take());
        let mut command = Command::new(program("vsndd"));
        command.args(["--config", text(&self.world.path("vsndd.toml")), "--xen", &self.world.spec()]);
        command.args(&self.arguments).envs(self.environment.iter().map(|(variable, value)| (variable, value)));
        self.daemon = Some(Process::ready(command.stderr(Stdio::piped())));
    }

    pub fn configure(&self, config: &str) {
        fs::write(self.world.path("vsndd.toml"), config).expect("written");
    }

    pub fn vsnd(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("vsnd"));
        command.args(arguments).args(["--xen", &self.world.spec()]).env_remove("VSND_SOCKET").output().expect("runs")
    }

    /// Output of a command that has to succeed.
    pub fn must(&self, arguments: &[&str]) -> String {
        let output = self.vsnd(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Names a guest, as the toolstack does.
    pub fn name(&self, domain: u16, name: &str) {
        let node = format!("/local/domain/{domain}/name");
        let socket = self.world.path("xen/xenstored.sock");
        let status = Command::new("xenstore-write").args([&node, name]).env("XENSTORED_PATH", socket).status();
        assert!(status.expect("xenstore-utils is installed").success());
    }

    /// The streams of the first card, as JSON; none while a worker is replaced.
    pub fn streams(&self) -> Vec<serde_json::Value> {
        self.card()["streams"].as_array().cloned().unwrap_or_default()
    }

    /// The first guest's first card.
    fn card(&self) -> serde_json::Value {
        let status: serde_json::Value = serde_json::from_str(&self.must(&["list", "--json"])).expect("JSON");
        status["guests"][0]["cards"][0].clone()
    }

    /// A guest that plays a tone for longer than any test takes, once it plays.
    pub fn player(&self) -> Process {
        self.player_of("1")
    }

    pub fn player_of(&self, domain: &str) -> Process {
        let path = self.world.path("tone.wav");
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 24_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(&path, spec).expect("created");
        for _ in 0..24_000 * 120 {
            writer.write_sample(8_000_i16).expect("written");
        }
        writer.finalize().expect("written");
        let player = Process(self.world.guest(&["play", text(&path), "--domain", domain]).spawn().expect("starts"));
        eventually("the guest plays", || self.must(&["list"]).contains("1 running"));
        player
    }
}

#[test]
fn a_running_stream_is_moved_to_a_server_and_away_again() {
    let server = Server::start(Kind::PulseAudio);
    let controlled = Controlled::new("sink = \"null\"\n");
    let _player = controlled.player();
    let recording = server.record();
    let heard = || recording.bytes().iter().filter(|byte| **byte != 0).count();
    assert_eq!(heard(), 0);
    controlled.configure(&format!("sink = \"{}\"\n", server.sink()));
    controlled.must(&["reload"]);
    eventually("the server hears it", || heard() > 48_000);
    controlled.configure("sink = \"null\"\n");
    controlled.must(&["reload"]);
    let quiet = || {
        let before = heard();
        let length = recording.bytes().len();
        eventually("the server goes on", || recording.bytes().len() > length + 48_000);
        heard() == before
    };
    eventually("the server hears it no more", quiet);
    let listed = controlled.must(&["list"]);
    assert!(listed.contains("1 running") && listed.contains("null"), "{listed}");
}

#[test]
fn what_the_hosts_user_sets_for_a_guest_outlives_the_daemon_and_the_guest() {
    for kind in [Kind::PulseAudio, Kind::PipeWire] {
        let server = Server::start_remembering(kind);
        server.pactl(&["load-module", "module-null-sink", "sink_name=other", "channels=2", "rate=48000"]);
        server.pactl(&["set-default-sink", "out"]);
        let mut controlled = Controlled::new(&format!("sink = \"pulse@{}\"\n", server.address()));
        let named = |domain: u16| controlled.name(domain, "studio");
        named(1);
        controlled.world.attach(2);
        named(2);
        controlled.run();
        let guest = || {
            let inputs = server.pactl(&["list", "sink-inputs"]);
            inputs
                .split("Sink Input #")
                .find(|input| input.contains("media.name = \"studio: card 0"))
                .map(str::to_owned)
        };
        let sinks = server.pactl(&["list", "short", "sinks"]);
        let other = sinks.lines().find(|line| line.contains("\tother\t")).and_then(|line| line.split('\t').next());
        let other = format!("Sink: {}\n", other.expect("the other sink"));
        let as_it_was_left = || {
            guest()
                .is_some_and(|input| input.contains(" 25% ") && input.contains("Mute: yes") && input.contains(&other))
        };
        let player = controlled.player();
        eventually("the guest is on the server", || guest().is_some());
        let input = guest().and_then(|input| input.lines().next().map(str::to_owned)).expect("its number");
        server.pactl(&["set-sink-input-volume", &input, "25%"]);
        server.pactl(&["set-sink-input-mute", &input, "1"]);
        // WirePlumber loses a move of a stream that it is linking, whatever the stream's owner does. The user sees
        // that, and moves it again; to the same sink would be no change.
        eventually("it is as the user wants it", || {
            server.pactl(&["move-sink-input", &input, "out"]);
            server.pactl(&["move-sink-input", &input, "other"]);
            let patience = Instant::now() + Duration::from_secs(2);
            while !as_it_was_left() && Instant::now() < patience {
                thread::sleep(Duration::from_millis(10));
            }
            as_it_was_left()
        });
        eventually("that is told", || {
            let status: serde_json::Value = serde_json::from_str(&controlled.must(&["list", "--json"])).expect("JSON");
            let streams =
                status["guests"].as_array().into_iter().flatten().map(|guest| &guest["cards"][0]["streams"][0]);
            let told = |stream: &serde_json::Value| {
                stream["server_muted"] == true
                    && stream["server_volume_db"].as_f64().is_some_and(|db| (db + 36.1).abs() < 0.1)
            };
            streams.into_iter().any(told)
        });

        controlled.run();
        let is_another = || guest().is_some_and(|found| found.lines().next() != Some(&input));
        eventually("the daemon has it as it was left", || is_another() && as_it_was_left());
        drop(player);
        eventually("the guest is gone", || guest().is_none());
        let _player = controlled.player_of("2");
        eventually("the guest that starts again has it as it was left", as_it_was_left);
    }
}

#[test]
fn what_the_hosts_user_sets_for_a_guest_behind_alsas_plugin_concerns_that_guest_alone() {
    let plugins = [(Kind::PulseAudio, "pulse"), (Kind::PipeWire, "pulse"), (Kind::PipeWire, "both")];
    for (kind, plugin) in plugins {
        let server = Server::start_remembering(kind);
        let mut environment = vec![("PULSE_SERVER", server.address())];
        let configuration = tempfile::NamedTempFile::new().expect("made");
        if plugin == "both" {
            fs::write(configuration.path(), server.alsa_configuration()).expect("written");
            environment.push(("ALSA_CONFIG_PATH", text(configuration.path()).to_owned()));
        }
        // PipeWire's plugin is out of the sandbox's reach.
        let mut controlled =
            Controlled::within(&format!("sink = \"alsa:{plugin}\"\n"), vec!["--sandbox", "off"], environment);
        (2..=3).for_each(|domain| controlled.world.attach(domain));
        for (domain, name) in [(1, "studio"), (2, "studio"), (3, "phone")] {
            controlled.name(domain, name);
        }
        controlled.run();
        let volume_of = |name: &str| {
            let inputs = server.pactl(&["list", "sink-inputs"]);
            let input = inputs.split("Sink Input #").find(|input| input.contains(&format!("\"vsnd: {name}\"")))?;
            let number = input.lines().next()?.to_owned();
            let volume = input.split(" / ").find_map(|word| word.trim().strip_suffix('%'))?.to_owned();
            Some((number, volume))
        };
        let has = |name: &str, wanted: &str| volume_of(name).is_some_and(|(_, volume)| volume == wanted);
        let player = controlled.player_of("1");
        eventually("the guest is on the server", || has("studio", "100"));
        // WirePlumber may set a new stream to what it remembers only after the stream can be seen, and ALSA's plugin
        // makes another stream after it ran dry: the user sets it again then.
        eventually("it is as the user wants it", || {
            let Some((number, _)) = volume_of("studio") else { return false };
            server.pactl(&["set-sink-input-volume", &number, "25%"]);
            has("studio", "25")
        });
        drop(player);
        eventually("the guest is gone", || volume_of("studio").is_none());
        let player = controlled.player_of("3");
        eventually("another guest is as it was", || has("phone", "100"));
        drop(player);
        eventually("that is gone, too", || volume_of("phone").is_none());
        let _player = controlled.player_of("2");
        eventually("the guest that starts again has it as it was left", || has("studio", "25"));
    }
}

#[test]
fn commands_take_effect_and_say_what_became_of_them() {
    let controlled = Controlled::new("sink = \"null\"\n");
    let _player = controlled.player();
    assert!(controlled.must(&["volume", "1/0/0/0", "=-6dB"]).contains("-6"));
    controlled.must(&["mute", "1"]);
    controlled.must(&["allow-capture", "1"]);
    let listed = controlled.must(&["list", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let streams = &status["guests"][0]["cards"][0]["streams"];
    assert!(streams[0].is_object(), "{listed}");
    assert_eq!((&streams[0]["volume_db"], &streams[0]["muted"]), (&(-6.0).into(), &true.into()));
    assert_eq!(streams[1]["permitted"], true);
    let unknown = controlled.vsnd(&["mute", "nobody"]);
    assert_eq!(unknown.status.code(), Some(5));
    assert!(stderr(&unknown).contains("no guest `nobody`"), "{}", stderr(&unknown));
    controlled.configure("sink = \"null\"\nvolume-max-db = \"loud\"\n");
    let broken = controlled.vsnd(&["reload"]);
    assert_eq!(broken.status.code(), Some(3));
    assert!(stderr(&broken).contains("vsndd.toml:2:17\n"), "{}", stderr(&broken));
    let events = controlled.must(&["events"]);
    for said in ["open ", "audit ", "volume -6 dB, by user ", "capture allowed", "refused, asked by user "] {
        assert!(events.contains(said), "{said} is missing in\n{events}");
    }
}

#[test]
fn the_socket_refuses_who_is_not_of_its_group() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: only root can be somebody else");
        return;
    }
    let controlled = Controlled::new("[control]\ngroup = \"nogroup\"\n");
    // Everybody may reach the socket, and run the program.
    for directory in [controlled.world.dir.path().to_owned(), controlled.world.path("xen")] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("set");
    }
    let vsnd = controlled.world.path("vsnd");
    fs::copy(program("vsnd"), &vsnd).expect("copied");
    let list = |gid| {
        let mut command = Command::new(&vsnd);
        command.args(["list", "--xen", &controlled.world.spec()]).env_remove("VSND_SOCKET").current_dir("/");
        command.uid(NOBODY).gid(gid).output().expect("runs")
    };
    let refused = list(1);
    assert_eq!(refused.status.code(), Some(11), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("not allowed to use"), "{}", stderr(&refused));
    let member = list(NOBODY);
    assert!(member.status.success(), "{}", stderr(&member));
}

#[test]
fn what_the_host_denies_is_listed_as_denied_while_the_guest_goes_on() {
    let controlled = Controlled::new("sink = \"null\"\nsource = \"null\"\ncapture = true\nwhen-denied = \"silence\"\n");
    let path = controlled.world.path("heard.wav");
    let recorder =
        Process(controlled.world.guest(&["record", text(&path), "--seconds", "100"]).spawn().expect("starts"));
    eventually("the guest records", || controlled.must(&["list"]).contains("1 running"));
    controlled.must(&["deny-capture", "1"]);
    let stream = &controlled.streams()[1];
    assert_eq!((&stream["run"], &stream["permitted"]), (&"running".into(), &false.into()), "{stream}");
    assert!(stream["effective_volume_db"].is_null(), "{stream}");
    let listed = controlled.must(&["list"]);
    assert!(listed.contains("capture  denied") && listed.contains("0 running"), "{listed}");
    drop(recorder);
}

#[test]
fn a_volume_under_a_ceiling_is_listed_as_what_is_heard() {
    let controlled = Controlled::new("sink = \"null\"\nvolume-max-db = -12\n");
    let _player = controlled.player();
    assert!(controlled.must(&["list"]).contains("≤-12.0 dB"));
    assert_eq!(controlled.streams()[0]["effective_volume_db"], -12.0);
    assert!(controlled.must(&["volume", "1/0/0/0"]).contains("at most -12.0 dB, which holds it down"));
    controlled.must(&["volume", "1", "=-20dB"]);
    assert_eq!(controlled.streams()[0]["effective_volume_db"], -20.0);
    assert!(controlled.must(&["list"]).contains(" -20.0 dB"));
    controlled.must(&["mute", "1"]);
    assert!(controlled.streams()[0]["effective_volume_db"].is_null());
    assert!(controlled.must(&["list"]).contains("playback muted"));
}

#[test]
fn a_wav_sinks_own_file_is_listed_with_the_names_of_card_and_pcm() {
    let mut controlled = Controlled::new("");
    let pattern = format!("{}/{{domain}}.wav", controlled.world.dir.path().display());
    controlled.configure(&format!("sink = \"wav:{pattern}\"\n"));
    fs::write(controlled.world.path("1.wav"), "").expect("written");
    controlled.run();
    let _player = controlled.player();
    let file = format!("wav:{}", controlled.world.path("1-2.wav").display());
    assert_eq!(controlled.streams()[0]["device"], file.as_str());
    let listed = controlled.must(&["list"]);
    assert!(listed.contains(&file) && listed.contains("card 0 “test”, PCM 0 “test”"), "{listed}");
    assert!(controlled.must(&["events"]).contains(&file));
}

#[test]
fn a_card_without_its_guests_driver_is_told_in_words() {
    let controlled = Controlled::new("");
    let listed = controlled.must(&["list"]);
    assert!(listed.contains("card 0: waiting for the guest's driver"), "{listed}");
}

#[test]
fn a_card_is_disconnected_and_its_guest_may_come_again() {
    let controlled = Controlled::new("sink = \"null\"\n");
    let _player = controlled.player();
    let refused = controlled.vsnd(&["disconnect", "1/0/0/0"]);
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("a card is disconnected as a whole"), "{}", stderr(&refused));
    for nothing in ["2", "1/7"] {
        assert_eq!(controlled.vsnd(&["disconnect", nothing]).status.code(), Some(5), "{nothing}");
    }
    assert!(controlled.must(&["list"]).contains("1 running"), "a refusal disconnects nobody");
    assert_eq!(controlled.must(&["disconnect", "1/0"]), "1/0: disconnected (2 streams)\n");
    let connections = || controlled.card()["connections"].as_u64();
    eventually("the guest connects again and plays on", || {
        connections() == Some(2) && controlled.must(&["list"]).contains("1 running")
    });
    let events = controlled.must(&["events", "--kind", "audit,violation"]);
    assert!(events.contains("1/0      disconnected, by user") && !events.contains("violation"), "{events}");
}

#[test]
fn capture_is_not_allowed_on_a_stream_that_plays() {
    let controlled = Controlled::new("sink = \"null\"\n");
    let _player = controlled.player();
    for command in ["allow-capture", "deny-capture"] {
        let refused = controlled.vsnd(&[command, "1/0/0/0"]);
        assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
        assert!(stderr(&refused).contains("`1/0/0/0` is for playback"), "{}", stderr(&refused));
        assert!(controlled.must(&[command, "1"]).contains("1: capture"));
    }
}

#[test]
fn what_the_next_start_refuses_check_and_reload_refuse_now() {
    let controlled = Controlled::new("");
    let file = controlled.world.path("vsndd.toml");
    let check = |more: &[&str]| {
        let mut command = Command::new(program("vsndd"));
        command.args(["--check-config", "--config", text(&file)]).args(more).env_remove("VSND_XEN");
        command.output().expect("runs")
    };
    for (config, place) in [
        ("sink = \"null\"\n[control]\ngroup = \"no-such-group\"\n", "vsndd.toml:3:9\n"),
        ("[control]\nsocket = \"/no/such/place/x.sock\"\n", "vsndd.toml:2:10\n"),
        ("[metrics]\nlisten = \"unix:/no/such/place/x.sock\"\n", "vsndd.toml:2:10\n"),
        ("snik = \"null\"\ncapture = 1\n", "vsndd.toml:2:11\n"),
    ] {
        controlled.configure(config);
        let mut start = Command::new(program("vsndd"));
        start.args(["--config", text(&file), "--xen", &controlled.world.spec()]).env_remove("VSND_XEN");
        for output in [check(&[]), controlled.vsnd(&["reload"]), start.output().expect("runs")] {
            assert_eq!(output.status.code(), Some(3), "{config}: {}", stderr(&output));
            assert!(stderr(&output).contains(place), "{config}: {}", stderr(&output));
        }
    }
    controlled.configure("[[rule]]\n[[rule]]\n");
    let user = check(&["--user", "no-such-user"]);
    assert_eq!(user.status.code(), Some(3), "{}", stderr(&user));
    let good = check(&[]);
    assert_eq!(good.status.code(), Some(0), "{}", stderr(&good));
    assert_eq!(String::from_utf8_lossy(&good.stdout), format!("{}: 2 rules, understood\n", file.display()));
    let said = controlled.must(&["reload"]);
    assert_eq!(said, format!("configuration read again: {}: 2 rules\n", file.display()));
}

#[test]
fn a_star_mutes_every_guest_and_a_sign_changes_the_volume() {
    let controlled = Controlled::new("sink = \"null\"\n");
    controlled.world.attach(2);
    eventually("both are served", || controlled.must(&["list"]).contains("2 guests"));
    let _player = controlled.player();
    assert!(controlled.must(&["mute", "*"]).contains("*: muted (2 connected streams)"));
    controlled.must(&["unmute", "1"]);
    controlled.must(&["volume", "*", "=-20dB"]);
    let up = controlled.must(&["volume", "1/0/0/0", "+3dB"]);
    assert!(up.contains("-17 dB"), "{up}");
    assert_eq!(controlled.streams()[0]["volume_db"], -17.0);
    assert_eq!(controlled.streams()[1]["volume_db"], -20.0);
    let events = controlled.must(&["events"]);
    assert!(events.contains(" 2        muted, by user"), "the other guest as well: {events}");
    let nobody = controlled.vsnd(&["mute", "x*"]);
    assert_eq!(nobody.status.code(), Some(5), "{}", stderr(&nobody));
}

#[test]
fn a_guest_that_is_renamed_while_it_plays_is_known_by_its_new_name() {
    let rules = "sink = \"null\"\n[[rule]]\ndomain = \"quiet\"\nvolume-max-db = -30\n";
    let controlled = Controlled::new(rules);
    controlled.world.attach_card(1, "vsnd=[['CARD, short-name=second', 'PCM', 'STREAM, unique-id=q, type=p']]");
    let _player = controlled.player();
    assert!(controlled.streams()[0]["volume_max_db"].is_null());
    controlled.name(1, "quiet");
    eventually("it is known by a watch", || controlled.must(&["list"]).contains("quiet, domain 1"));
    eventually("its rules hold", || controlled.streams()[0]["volume_max_db"] == -30.0);
    controlled.must(&["mute", "quiet"]);
    controlled.name(1, "loud");
    controlled.must(&["reload"]);
    let listed = controlled.must(&["list"]);
    assert!(listed.contains("loud, domain 1") && !listed.contains("quiet"), "one name for both cards: {listed}");
    assert!(controlled.streams()[0]["volume_max_db"].is_null());
}
