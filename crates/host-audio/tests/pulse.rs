//! The `pulse` device against real servers: PulseAudio, and PipeWire in its place.

mod common;

use common::{
    OpenAndWait, PRELUDE_FRAMES, QUIET, Stream, WHO, assert_captured, assert_each_channel_is_at_its_own_speaker,
    assert_heard_behind_every_gap, assert_short_buffer_is_played, assert_what_the_user_sets_stays, device, guests,
    is_tone, native, noise, play, play_with_every_gap, silence, silent_device, sink_runs, wait_until,
};
use host_audio::{Direction, StreamSpec};
use sndif::Format;
use sound_servers::{Kind, Server};
use std::time::{Duration, Instant};

/// Periods so long that a busy machine plays them without a gap.
const SPEC: StreamSpec = StreamSpec { period_frames: 4_800, buffer_frames: 19_200, ..common::SPEC };
const SERVERS: [Kind; 2] = [Kind::PulseAudio, Kind::PipeWire];

#[test]
fn what_nothing_converts_is_heard_bit_by_bit_to_its_end() {
    for kind in SERVERS {
        let server = Server::start(kind);
        let (format, frames) = native(kind, 48_000);
        let spec = StreamSpec { format, ..SPEC };
        let recording = server.record();
        let all = [silence(PRELUDE_FRAMES * spec.frame_bytes()), frames.clone()].concat();
        recording.await_heard(&frames, || {
            let mut sink = device(&server.sink()).open_sink(&WHO, &spec).unwrap();
            let begin = Instant::now();
            play(&mut *sink, spec.frame_bytes(), &all);
            let took = begin.elapsed();
            assert!(took >= Duration::from_secs(1), "{kind:?}: 1100 ms were played in {took:?}");
            sink.stop().unwrap();
        });
    }
}

#[test]
fn a_short_buffer_is_played_at_any_servers_latency() {
    for kind in SERVERS {
        let server = Server::start(kind);
        assert_short_buffer_is_played(&server, device(&server.sink()).as_ref(), kind);
    }
}

#[test]
fn what_is_played_can_be_captured() {
    for kind in SERVERS {
        let server = Server::start(kind);
        let (format, frames) = native(kind, 24_000);
        let spec = StreamSpec { format, ..SPEC };
        assert_captured(device(&server.source()).as_ref(), device(&server.sink()).as_ref(), &spec, &frames);
    }
}

#[test]
fn a_server_that_is_killed_stops_no_clock_and_is_used_again_when_it_is_back() {
    for kind in SERVERS {
        let mut server = Server::start(kind);
        let mut sink = silent_device(&server.sink()).open_sink(&WHO, &SPEC).unwrap();
        let mut source = silent_device(&server.source()).open_source(&WHO, &SPEC).unwrap();
        let mut stream = Stream::new(&mut *sink, &mut *source);
        stream.run_until_used("it plays");
        server.kill();
        stream.run_until("the loss is told", |stream| stream.is_lost());
        stream.run_on_while_lost();
        server.run();
        stream.run_until_used("both are back");
        let recording = server.record();
        let (_, marks) = native(Kind::PulseAudio, 4_800);
        stream.play = Some(marks.clone());
        stream.run_until("it is heard again", |_| match kind {
            Kind::PulseAudio => recording.bytes().windows(64).any(|window| window == &marks[..64]),
            Kind::PipeWire => recording.bytes().iter().any(|&byte| byte != 0),
        });
    }
}

#[test]
fn a_server_that_freezes_stops_no_clock_and_is_used_again_when_it_goes_on() {
    for kind in SERVERS {
        let server = Server::start(kind);
        let mut sink = silent_device(&server.sink()).open_sink(&WHO, &SPEC).unwrap();
        let mut source = silent_device(&server.source()).open_source(&WHO, &SPEC).unwrap();
        let mut stream = Stream::new(&mut *sink, &mut *source);
        stream.run_until_used("it plays");
        server.freeze(true);
        stream.run_until("the loss is told", |stream| stream.is_lost());
        stream.run_on_while_lost();
        server.freeze(false);
        stream.run_until_used("both are back");
    }
}

#[test]
fn a_server_that_is_not_there_refuses_a_stream_or_plays_to_silence_until_it_is() {
    let mut server = Server::start(Kind::PulseAudio);
    server.kill();
    let error = device(&server.sink()).open_sink(&WHO, &SPEC).err().unwrap().to_string();
    assert!(error.contains("cannot use PulseAudio server unix:") && error.contains("`pactl info`"), "{error}");
    let mut sink = silent_device(&server.sink()).open_sink(&WHO, &SPEC).unwrap();
    let mut source = silent_device(&server.source()).open_source(&WHO, &SPEC).unwrap();
    let mut stream = Stream::new(&mut *sink, &mut *source);
    stream.run_until("the absence is told", |stream| stream.is_lost());
    stream.run_on_while_lost();
    server.run();
    stream.run_until_used("it is played");
}

#[test]
fn a_sink_that_the_server_does_not_have_is_named_with_what_helps() {
    for kind in SERVERS {
        let server = Server::start(kind);
        let missing = device(&format!("pulse:nowhere@{}", server.address()));
        let error = missing.check(&WHO, Direction::Playback).unwrap_err().to_string();
        assert!(error.contains("it has no sink `nowhere`") && error.contains("`pactl list short sinks`"), "{error}");
        let error = missing.check(&WHO, Direction::Capture).unwrap_err().to_string();
        assert!(error.contains("it has no source `nowhere`"), "{error}");
    }
}

#[test]
fn a_stream_has_an_identity_of_its_own_and_a_role_only_where_one_is_wished() {
    for kind in SERVERS {
        let server = Server::start(kind);
        let _sink = device(&server.sink()).open_sink(&WHO, &SPEC).unwrap();
        let input = guests(&server);
        assert!(input.contains("application.id = \"vsnd: studio: card 0 out\""), "{input}");
        // PipeWire's server derives one key from the other.
        let memory = "module-stream-restore.id = \"vsnd: studio: card 0 out\"";
        assert!(input.contains(memory) || kind == Kind::PipeWire, "{input}");
        assert!(!input.contains("media.role"), "{input}");
        drop(_sink);
        let _sink = common::device_of_role(&server.sink(), "game").open_sink(&WHO, &SPEC).unwrap();
        wait_until("the role", || guests(&server).contains("media.role = \"game\""));
    }
}

#[test]
fn what_the_servers_user_sets_is_told_and_stays_and_concerns_the_guest_alone() {
    for kind in SERVERS {
        let server = Server::start_remembering(kind);
        assert_what_the_user_sets_stays(&server, &format!("pulse@{}", server.address()));
    }
}

#[test]
fn a_phone_call_on_the_host_does_not_mute_a_guest() {
    let server = Server::start_pulseaudio(&["module-role-cork"]);
    let mut sink = device(&server.sink()).open_sink(&WHO, &SPEC).unwrap();
    sink.start().unwrap();
    sink.write(&silence(4 * 9_600)).unwrap();
    let _phone = server.play_as("phone");
    wait_until("the phone rings", || server.pactl(&["list", "sink-inputs"]).contains("media.role = \"phone\""));
    std::thread::sleep(QUIET / 2);
    assert!(guests(&server).contains("Mute: no"), "{}", guests(&server));
}

#[test]
fn a_guest_that_plays_does_not_move_the_hosts_master_volume() {
    let server = Server::start_flat();
    server.pactl(&["set-sink-volume", "out", "30%"]);
    let mut sink = device(&server.sink()).open_sink(&WHO, &SPEC).unwrap();
    play(sink.as_mut(), 4, &silence(4 * 9_600));
    let volume = || server.pactl(&["get-sink-volume", "out"]);
    assert!(volume().contains("30%"), "{}", volume());
    // On this server, another program's own volume moves the master volume.
    let _player = server.play_at_full_volume();
    wait_until("a program moves the master", || volume().contains("100%"));
}

#[test]
fn a_server_over_tcp_lets_in_who_has_its_cookie() {
    const INNER: &str = "COOKIE_SINK";
    if let Ok(sink) = std::env::var(INNER) {
        // The test that started this one judges the outcome.
        match device(&sink).open_sink(&WHO, &SPEC) {
            Ok(mut sink) => {
                // Not by `play`: a sink that nobody records takes up to two seconds until it moves.
                assert_eq!(sink.write(&noise(4 * 4_800)).unwrap(), 4_800);
                sink.start().unwrap();
                wait_until("it is heard", || sink.queued_frames() == 0);
            }
            Err(error) => panic!("{error}"),
        }
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let cookies = ["right", "wrong"].map(|name| dir.path().join(name));
    for (number, cookie) in (1..).zip(&cookies) {
        std::fs::write(cookie, [number; 256]).unwrap();
    }
    let (_server, port) = Server::start_tcp(&format!("auth-cookie={}", cookies[0].display()));
    // The cookie's path comes from the environment, which only a process of its own can have.
    let output = |cookie: &std::path::Path| {
        let mut test = std::process::Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", "a_server_over_tcp_lets_in_who_has_its_cookie", "--nocapture"]);
        test.env(INNER, format!("pulse:out@tcp:127.0.0.1:{port}")).env("PULSE_COOKIE", cookie).output().unwrap()
    };
    let right = output(&cookies[0]);
    assert!(right.status.success(), "{}", String::from_utf8_lossy(&right.stderr));
    for other in [&cookies[1], &dir.path().join("none")] {
        let refused = output(other);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success());
        let reason = format!(
            "cannot use PulseAudio server tcp:127.0.0.1:{port}: it does not let us in; it wants its user, its cookie"
        );
        assert!(said.contains(&reason) && said.contains("PULSE_COOKIE names the file"), "{said}");
    }
}

#[test]
fn sound_leaves_the_machine_over_tcp() {
    let (server, port) = Server::start_tcp("auth-anonymous=1");
    let (_, frames) = native(Kind::PulseAudio, 24_000);
    let recording = server.record();
    let all = [silence(PRELUDE_FRAMES * 4), frames.clone()].concat();
    recording.await_heard(&frames, || {
        let mut sink = device(&format!("pulse:out@tcp:127.0.0.1:{port}")).open_sink(&WHO, &SPEC).unwrap();
        play(&mut *sink, 4, &all);
    });
}

#[test]
fn what_no_server_takes_is_converted_and_what_nothing_converts_is_not_offered() {
    let server = Server::start(Kind::PulseAudio);
    let formats = device(&server.sink()).capabilities(&WHO, Direction::Playback).unwrap().formats;
    for format in Format::all() {
        assert_eq!(formats.contains(format), pcm::is_decodable(format), "{format}");
    }
    // Big-endian unsigned samples in a container, of which 16 bits count: exact in the sink's 16.
    let (_, frames) = native(Kind::PulseAudio, 24_000);
    let spec = StreamSpec { format: Format::U24Be, ..SPEC };
    let mut wide = vec![0; frames.len() * 2];
    pcm::Converter::new(Format::S16Le, Format::U24Be).unwrap().convert(&frames, &mut wide);
    let mut quiet = vec![0; PRELUDE_FRAMES * spec.frame_bytes()];
    pcm::fill_silence(Format::U24Be, &mut quiet);
    let recording = server.record();
    let all = [quiet, wide].concat();
    recording.await_heard(&frames, || {
        let mut sink = device(&server.sink()).open_sink(&WHO, &spec).unwrap();
        play(&mut *sink, spec.frame_bytes(), &all);
    });
}

#[test]
fn what_is_converted_is_heard_with_its_frequency_and_level() {
    const HZ: f64 = 997.0;
    const AMPLITUDE: f64 = 0.5;
    for kind in SERVERS {
        let server = Server::start(kind);
        let recorded = if kind == Kind::PulseAudio { Format::S16Le } else { Format::F32Le };
        let recording = server.record();
        for (format, rate_hz, channels) in
            [(Format::F64Be, 44_100, 2), (Format::MuLaw, 8_000, 2), (Format::U24Le, 96_000, 1)]
        {
            // Periods of 100 ms.
            let spec =
                StreamSpec { format, rate_hz, channels, period_frames: rate_hz / 10, buffer_frames: rate_hz / 10 * 4 };
            let mut sink = device(&server.sink()).open_sink(&WHO, &spec).unwrap();
            let sine = common::sine(&spec, HZ, AMPLITUDE, rate_hz as usize / 2);
            let mut from = recording.bytes().len() / 8 * 8;
            // A busy machine makes gaps.
            wait_until(&format!("{kind:?} plays {format} at {rate_hz} Hz as it is"), || {
                play(&mut *sink, spec.frame_bytes(), &sine);
                let heard = recording.since(from);
                from += heard.len();
                is_tone(recorded, &heard, HZ, AMPLITUDE)
            });
        }
    }
}

#[test]
fn after_a_gap_of_any_length_every_frame_is_heard_once() {
    for kind in SERVERS {
        let server = Server::start(kind);
        let heard = server.hear();
        let device = device(&server.device("heard"));
        assert_heard_behind_every_gap(&heard, || play_with_every_gap(device.as_ref()));
    }
}

#[test]
fn what_is_queued_is_heard_where_a_sink_is_finished() {
    let server = Server::start(Kind::PulseAudio);
    let heard = server.hear();
    let mut sink = device(&server.device("heard")).open_sink(&WHO, &SPEC).unwrap();
    let frames = sink.room_frames();
    assert_eq!(sink.write(&[1; 65_536][..frames * 4]).unwrap(), frames);
    sink.start().unwrap();
    sink.finish();
    wait_until("all of it is heard", || heard.frames().len() == frames);
}

/// Processor time that this process has used, in hundredths of a second.
fn used_time() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    stat.split(' ').skip(13).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

fn assert_no_time_is_used(what: &str) {
    let before = used_time();
    std::thread::sleep(QUIET);
    let used = used_time() - before;
    assert!(used < 10, "{what}, and {used} hundredths of a second are used");
}

#[test]
fn a_stream_that_stands_costs_nothing_and_lets_the_host_suspend_its_card() {
    const INNER: &str = "VSND_TEST_ALONE";
    if std::env::var_os(INNER).is_none() {
        // In a process of its own, whose time other tests do not use.
        let mut test = std::process::Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", "a_stream_that_stands_costs_nothing_and_lets_the_host_suspend_its_card"]);
        let output = test.env(INNER, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    for kind in SERVERS {
        let server = Server::start(kind);
        let mut sink = device(&server.sink()).open_sink(&WHO, &SPEC).unwrap();
        for way in ["runs dry", "is stopped", "is stopped in the middle", "is paused"] {
            play(&mut *sink, 4, &noise(4 * 4_800));
            match way {
                "runs dry" => {}
                "is stopped" => sink.stop().unwrap(),
                "is stopped in the middle" => {
                    sink.write(&noise(4 * 4_800)).unwrap();
                    sink.stop().unwrap();
                }
                _ => sink.pause(true).unwrap(),
            }
            wait_until(&format!("{kind:?}'s sink rests when a stream {way}"), || !sink_runs(&server));
            assert_no_time_is_used(&format!("{kind:?}: a stream {way}"));
            sink.pause(false).unwrap();
        }
        let mut source = device(&server.source()).open_source(&WHO, &SPEC).unwrap();
        source.start().unwrap();
        std::thread::sleep(QUIET);
        source.stop().unwrap();
        wait_until(&format!("{kind:?}'s sink rests when nobody records it"), || !sink_runs(&server));
        assert_no_time_is_used(&format!("{kind:?}: a source is stopped"));
    }
}

#[test]
fn each_channel_is_at_its_own_speaker_on_a_server() {
    for kind in SERVERS {
        let server = Server::start(kind);
        let devices = (&*server.device("many"), &*server.device("many.monitor"));
        assert_each_channel_is_at_its_own_speaker(&server, devices);
    }
}
