//! `vsnd` and the real daemon: what the administrator asks for happens to a guest that plays.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use sound_servers::{Kind, Server};

use crate::common::{Process, World, eventually, program, stderr, text};

/// A daemon with a configuration that can be changed.
struct Steered {
    world: World,
    _daemon: Process,
}

impl Steered {
    fn new(config: &str) -> Self {
        let world = World::new();
        let path = world.path("vsndd.toml");
        fs::write(&path, config).expect("written");
        let mut command = Command::new(program("vsndd"));
        command.args(["--config", text(&path), "--xen", &world.spec()]).stderr(Stdio::piped());
        let daemon = Process::ready(&mut command);
        Self { world, _daemon: daemon }
    }

    fn configure(&self, config: &str) {
        fs::write(self.world.path("vsndd.toml"), config).expect("written");
    }

    fn vsnd(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("vsnd"));
        command.args(arguments).args(["--xen", &self.world.spec()]).env_remove("VSND_SOCKET").output().expect("runs")
    }

    /// What a command that has to succeed prints.
    fn must(&self, arguments: &[&str]) -> String {
        let output = self.vsnd(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    /// A guest that plays a tone for longer than any test takes, once it plays.
    fn player(&self) -> Process {
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
        let player = Process(self.world.guest(&["play", text(&path)]).spawn().expect("starts"));
        eventually("the guest plays", || self.must(&["list"]).contains("1 running"));
        player
    }
}

#[test]
fn a_running_stream_is_moved_to_a_server_and_away_again() {
    let server = Server::start(Kind::PulseAudio);
    let steered = Steered::new("sink = \"null\"\n");
    let _player = steered.player();
    let recording = server.record();
    let heard = || recording.octets().iter().filter(|octet| **octet != 0).count();
    assert_eq!(heard(), 0);
    steered.configure(&format!("sink = \"{}\"\n", server.sink()));
    steered.must(&["reload"]);
    eventually("the server hears it", || heard() > 48_000);
    steered.configure("sink = \"null\"\n");
    steered.must(&["reload"]);
    let quiet = || {
        let before = heard();
        let length = recording.octets().len();
        eventually("the server goes on", || recording.octets().len() > length + 48_000);
        heard() == before
    };
    eventually("the server hears it no more", quiet);
    let listed = steered.must(&["list"]);
    assert!(listed.contains("1 running") && listed.contains("null"), "{listed}");
}

#[test]
fn commands_take_effect_and_say_what_became_of_them() {
    let steered = Steered::new("sink = \"null\"\n");
    let _player = steered.player();
    assert!(steered.must(&["volume", "1/0/0/0", "-6dB"]).contains("-6"));
    steered.must(&["mute", "1"]);
    steered.must(&["allow-capture", "1"]);
    let listed = steered.must(&["list", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let streams = &status["guests"][0]["cards"][0]["streams"];
    assert!(streams[0].is_object(), "{listed}");
    assert_eq!((&streams[0]["volume_db"], &streams[0]["muted"]), (&(-6.0).into(), &true.into()));
    assert_eq!(streams[1]["permitted"], true);
    let unknown = steered.vsnd(&["mute", "nobody"]);
    assert_eq!(unknown.status.code(), Some(5));
    assert!(stderr(&unknown).contains("no guest `nobody`"), "{}", stderr(&unknown));
    steered.configure("sink = \"null\"\nvolume-max-db = \"loud\"\n");
    let broken = steered.vsnd(&["reload"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(stderr(&broken).contains("vsndd.toml:2:17: "), "{}", stderr(&broken));
    let events = steered.must(&["events"]);
    for said in ["open ", "audit ", "volume -6 dB, by user ", "capture allowed", "refused: "] {
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
    let steered = Steered::new("[control]\ngroup = \"nogroup\"\n");
    // Everybody may come up to the socket, and run the program.
    for directory in [steered.world.dir.path().to_owned(), steered.world.path("xen")] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("set");
    }
    let vsnd = steered.world.path("vsnd");
    fs::copy(program("vsnd"), &vsnd).expect("copied");
    let list = |gid| {
        let mut command = Command::new(&vsnd);
        command.args(["list", "--xen", &steered.world.spec()]).env_remove("VSND_SOCKET").current_dir("/");
        command.uid(NOBODY).gid(gid).output().expect("runs")
    };
    let refused = list(1);
    assert_eq!(refused.status.code(), Some(11), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("not allowed to use"), "{}", stderr(&refused));
    let member = list(NOBODY);
    assert!(member.status.success(), "{}", stderr(&member));
}
