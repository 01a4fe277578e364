//! The `pipewire` device against a real server, with a session manager and without.
#![cfg(feature = "pipewire")]

mod common;

use common::{
    OpenAndWait, PRELUDE_FRAMES, Stream, WHO, assert_captured, assert_each_channel_is_at_its_own_speaker,
    assert_heard_behind_every_gap, assert_short_buffer_is_played, assert_what_the_user_sets_stays, await_loss, device,
    is_tone, native, play, play_with_every_gap, silence, silent_device, sink_runs, tend, wait_until,
};
use host_audio::{Direction, StreamSpec};
use serde_json::Value;
use sndif::Format;
use sound_servers::{Kind, Search, Server};
use std::time::{Duration, Instant};

/// Periods so long that a busy machine plays them without a gap.
const SPEC: StreamSpec = StreamSpec { period_frames: 4_800, buffer_frames: 19_200, ..common::SPEC };

fn start() -> Server {
    Server::start(Kind::PipeWire)
}

#[test]
fn what_nothing_converts_is_heard_bit_by_bit_to_its_end() {
    let server = start();
    let (format, frames) = native(Kind::PipeWire, 48_000);
    let spec = StreamSpec { format, ..SPEC };
    let recording = server.record();
    let all = [silence(PRELUDE_FRAMES * spec.frame_bytes()), frames.clone()].concat();
    // To the node by its name, and to the default one.
    for name in [server.node(), format!("pipewire@{}", server.pipewire_address())] {
        recording.await_heard(&frames, || {
            let mut sink = device(&name).open_sink(&WHO, &spec).unwrap();
            let begin = Instant::now();
            play(&mut *sink, spec.frame_bytes(), &all);
            let took = begin.elapsed();
            assert!(took >= Duration::from_secs(1), "1100 ms were played in {took:?}");
        });
    }
}

#[test]
fn a_short_buffer_is_played_at_the_servers_cycle() {
    let server = start();
    assert_short_buffer_is_played(&server, device(&server.node()).as_ref(), Kind::PipeWire);
}

#[test]
fn a_cycle_that_is_longer_than_a_buffer_gets_silence_ahead() {
    let server = start();
    server.force_cycle(2_048);
    let (format, frames) = native(Kind::PipeWire, 24_000);
    let spec = StreamSpec { format, period_frames: 240, buffer_frames: 480, ..SPEC };
    let recording = server.record();
    let mut sink = device(&server.node()).open_sink(&WHO, &spec).unwrap();
    // Without silence ahead no more than a buffer was heard in one piece. A busy machine makes gaps.
    let mut from = 0;
    wait_until("100 ms are heard in one piece", || {
        let mut search = Search::new(&frames, spec.frame_bytes(), 4_800);
        let pieces = search.missing().len();
        play(&mut *sink, spec.frame_bytes(), &frames);
        let heard = recording.since(from);
        from += heard.len();
        search.hear(&heard);
        search.missing().len() < pieces
    });
}

#[test]
fn what_is_played_can_be_captured() {
    let server = start();
    let (format, frames) = native(Kind::PipeWire, 24_000);
    let spec = StreamSpec { format, ..SPEC };
    let node = device(&server.node());
    assert_captured(node.as_ref(), node.as_ref(), &spec, &frames);
}

#[test]
fn a_stream_goes_on_after_a_pause_and_after_a_stop() {
    let server = start();
    let mut sink = device(&server.node()).open_sink(&WHO, &SPEC).unwrap();
    let tenth = silence(4_800 * 4);
    for round in 0..20 {
        // Again and again while the node is on its way into the graph, or out of it.
        sink.write(&tenth).unwrap();
        sink.start().unwrap();
        if round % 2 == 0 {
            sink.pause(true).unwrap();
            sink.pause(false).unwrap();
        }
        sink.stop().unwrap();
        assert_eq!(sink.queued_frames(), 0);
    }
    play(&mut *sink, 4, &tenth);
    sink.write(&tenth).unwrap();
    sink.pause(true).unwrap();
    wait_until("what it has on its way is heard", || {
        let queued = sink.queued_frames();
        std::thread::sleep(Duration::from_millis(100));
        tend(sink.as_mut());
        sink.queued_frames() == queued
    });
    sink.pause(false).unwrap();
    wait_until("the rest is heard", || {
        tend(sink.as_mut());
        sink.queued_frames() == 0
    });
}

#[test]
fn a_stream_that_is_fed_too_late_is_an_xrun_and_goes_on() {
    let server = start();
    let (format, frames) = native(Kind::PipeWire, 4_800);
    let spec = StreamSpec { format, ..SPEC };
    let recording = server.record();
    let mut sink = device(&server.node()).open_sink(&WHO, &spec).unwrap();
    let tenth = silence(4_800 * spec.frame_bytes());
    play(&mut *sink, spec.frame_bytes(), &tenth);
    let before = sink.xruns();
    let all = [tenth, frames.clone()].concat();
    recording.await_heard(&frames, || play(&mut *sink, spec.frame_bytes(), &all));
    assert!(sink.xruns() > before, "{} xruns", sink.xruns());
}

#[test]
fn a_server_that_stalls_between_two_sounds_plays_the_second() {
    let server = start();
    let (format, frames) = native(Kind::PipeWire, 9_600);
    let spec = StreamSpec { format, ..SPEC };
    let recording = server.record();
    let mut sink = device(&server.node()).open_sink(&WHO, &spec).unwrap();
    // A busy machine may lose most of what is played. The server goes wrong when it is told to stop the node in
    // between; `a_stream_that_does_not_play_leaves_the_graph_after_a_while` tests that it is not.
    recording.await_sound(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                server.freeze(true);
                std::thread::sleep(Duration::from_millis(500));
                server.freeze(false);
            });
            play(&mut *sink, spec.frame_bytes(), &silence(4_800 * spec.frame_bytes()));
        });
        for _ in 0..3 {
            play(&mut *sink, spec.frame_bytes(), &frames);
        }
    });
}

#[test]
fn a_server_that_is_killed_stops_no_clock_and_is_used_again_when_it_is_back() {
    let mut server = start();
    let mut sink = silent_device(&server.node()).open_sink(&WHO, &SPEC).unwrap();
    let mut source = silent_device(&server.node()).open_source(&WHO, &SPEC).unwrap();
    let mut stream = Stream::new(&mut *sink, &mut *source);
    stream.run_until_used("it plays");
    server.kill();
    stream.run_until("the loss is told", |stream| stream.is_lost());
    stream.run_on_while_lost();
    server.run();
    stream.run_until_used("both are back");
    let recording = server.record();
    stream.play = Some(native(Kind::PulseAudio, 4_800).1);
    stream.run_until("it is heard again", |_| recording.bytes().iter().any(|&byte| byte != 0));
}

#[test]
fn a_server_that_freezes_stops_no_clock_and_is_used_again_when_it_goes_on() {
    let server = start();
    let mut sink = silent_device(&server.node()).open_sink(&WHO, &SPEC).unwrap();
    let mut source = silent_device(&server.node()).open_source(&WHO, &SPEC).unwrap();
    let mut stream = Stream::new(&mut *sink, &mut *source);
    stream.run_until_used("it plays");
    server.freeze(true);
    stream.run_until("the loss is told", |stream| stream.is_lost());
    stream.run_on_while_lost();
    server.freeze(false);
    stream.run_until_used("both are back");
}

#[test]
fn a_node_that_is_unplugged_stops_no_clock_and_is_used_again_when_it_is_back() {
    let server = start();
    // Another sink exists, which must not take the node's place.
    server.pactl(&["load-module", "module-null-sink", "sink_name=other"]);
    let mut sink = silent_device(&server.node()).open_sink(&WHO, &SPEC).unwrap();
    let mut source = silent_device(&server.node()).open_source(&WHO, &SPEC).unwrap();
    let mut stream = Stream::new(&mut *sink, &mut *source);
    stream.run_until_used("it plays");
    server.remove_sink();
    stream.run_until("the loss is told", |stream| stream.is_lost());
    stream.run_on_while_lost();
    server.add_sink();
    stream.run_until_used("both are back");
}

#[test]
fn a_server_that_is_not_there_refuses_a_stream_or_plays_to_silence_until_it_is() {
    let mut server = start();
    server.kill();
    let error = device(&server.node()).open_sink(&WHO, &SPEC).err().unwrap().to_string();
    assert!(error.contains(&format!("cannot use PipeWire server {}", server.pipewire_address())), "{error}");
    assert!(error.contains("No such file") && error.contains("`pw-cli info 0`"), "{error}");
    let error = device(&server.node()).check(&WHO, Direction::Playback).unwrap_err().to_string();
    assert!(error.contains("cannot use PipeWire server unix:"), "{error}");
    let mut sink = silent_device(&server.node()).open_sink(&WHO, &SPEC).unwrap();
    let mut source = silent_device(&server.node()).open_source(&WHO, &SPEC).unwrap();
    let mut stream = Stream::new(&mut *sink, &mut *source);
    stream.run_until("the absence is told", |stream| stream.is_lost());
    stream.run_on_while_lost();
    server.run();
    stream.run_until_used("it is played");
}

#[test]
fn a_server_without_a_session_manager_is_told_as_such_and_used_when_it_has_one() {
    let mut server = start();
    server.kill_session_manager();
    for error in [
        device(&server.node()).check(&WHO, Direction::Playback).unwrap_err().to_string(),
        device(&server.node()).open_sink(&WHO, &SPEC).err().unwrap().to_string(),
        device(&server.node()).open_source(&WHO, &SPEC).err().unwrap().to_string(),
    ] {
        assert!(error.contains("it has no session manager") && error.contains("start WirePlumber"), "{error}");
    }
    let mut sink = silent_device(&server.node()).open_sink(&WHO, &SPEC).unwrap();
    let mut source = silent_device(&server.node()).open_source(&WHO, &SPEC).unwrap();
    let mut stream = Stream::new(&mut *sink, &mut *source);
    stream.run_until("the absence is told", |stream| stream.is_lost());
    stream.run_on_while_lost();
    server.run_session_manager();
    stream.run_until_used("it is played");
}

#[test]
fn a_node_that_the_server_does_not_have_is_named_with_what_helps() {
    let server = start();
    let missing = device(&format!("pipewire:nowhere@{}", server.pipewire_address()));
    for error in [
        missing.check(&WHO, Direction::Playback).unwrap_err().to_string(),
        missing.check(&WHO, Direction::Capture).unwrap_err().to_string(),
        missing.open_sink(&WHO, &SPEC).err().unwrap().to_string(),
        missing.open_source(&WHO, &SPEC).err().unwrap().to_string(),
    ] {
        assert!(error.contains("it has no node `nowhere`") && error.contains("`pw-cli ls Node`"), "{error}");
    }
    device(&server.node()).check(&WHO, Direction::Playback).unwrap();
    device(&server.node()).check(&WHO, Direction::Capture).unwrap();
}

/// The server's information about the nodes of the tests' streams.
fn nodes(server: &Server) -> Vec<Value> {
    let all: Vec<Value> = serde_json::from_str(&server.pw_dump()).unwrap_or_default();
    let ours = |object: &Value| object["info"]["props"]["node.name"] == "studio: card 0 out";
    all.into_iter().filter(ours).map(|object| object["info"].clone()).collect()
}

#[test]
fn a_stream_that_does_not_play_leaves_the_graph_after_a_while() {
    let server = start();
    let begin = Instant::now();
    let mut sink = device(&server.node()).open_sink(&WHO, &SPEC).unwrap();
    let plays = || nodes(&server).first().map(|node| node["state"] == "running");
    wait_until("it rests", || plays() == Some(false));
    assert!(begin.elapsed() >= Duration::from_millis(1_500), "{:?}", begin.elapsed());
    sink.start().unwrap();
    sink.write(&silence(4_800 * SPEC.frame_bytes())).unwrap();
    wait_until("it plays", || {
        tend(sink.as_mut());
        plays() == Some(true)
    });
    let begin = Instant::now();
    sink.stop().unwrap();
    wait_until("it rests again", || plays() == Some(false));
    assert!(begin.elapsed() >= Duration::from_millis(1_500), "{:?}", begin.elapsed());
}

#[test]
fn a_stream_goes_to_the_node_that_is_named_and_not_to_the_default_one() {
    let server = start();
    server.pactl(&["load-module", "module-null-sink", "sink_name=other"]);
    wait_until("another sink is the default one", || {
        server.pactl(&["set-default-sink", "other"]);
        server.pactl(&["get-default-sink"]).trim() == "other"
    });
    for (name, expected) in [(server.node(), "out"), (format!("pipewire@{}", server.pipewire_address()), "other")] {
        let mut sink = device(&name).open_sink(&WHO, &SPEC).unwrap();
        sink.start().unwrap();
        wait_until(&format!("{name} goes to {expected}"), || links(&server) == [expected, expected]);
        drop(sink);
        wait_until("it is gone", || nodes(&server).is_empty());
    }
}

/// The nodes that the tests' streams are linked to, by channel.
fn links(server: &Server) -> Vec<String> {
    let all: Vec<Value> = serde_json::from_str(&server.pw_dump()).unwrap_or_default();
    let name = |id: &Value| {
        let node = all.iter().find(|object| object["id"] == *id);
        node.and_then(|node| node["info"]["props"]["node.name"].as_str()).unwrap_or_default()
    };
    let links = all.iter().filter(|object| object["type"] == "PipeWire:Interface:Link").map(|link| &link["info"]);
    let ours = links.filter(|link| name(&link["output-node-id"]) == "studio: card 0 out");
    ours.map(|link| name(&link["input-node-id"]).to_owned()).collect()
}

#[test]
fn a_stream_is_a_node_with_its_guests_name_and_a_latency_request() {
    let server = start();
    // Two periods of 10 ms are queued, of which a third makes a cycle.
    let spec = StreamSpec { period_frames: 480, buffer_frames: 1_920, ..SPEC };
    let mut sink = device(&server.node()).open_sink(&WHO, &spec).unwrap();
    sink.start().unwrap();
    let expected = |class: &str| {
        let mut found = Vec::new();
        wait_until("the node is there", || {
            found = nodes(&server);
            !found.is_empty()
        });
        let nodes = found;
        assert_eq!(nodes.len(), 1);
        let props = &nodes[0]["props"];
        for (key, value) in [
            ("media.name", "studio: card 0 out"),
            ("node.description", "studio: card 0 out"),
            ("media.class", class),
            ("application.id", "vsnd: studio: card 0 out"),
            ("node.latency", "320/48000"),
            ("node.rate", "1/48000"),
            ("target.object", "out"),
        ] {
            assert_eq!(props[key], value, "{key}: {props}");
        }
        assert!(props["media.role"].is_null(), "{props}");
    };
    expected("Stream/Output/Audio");
    drop(sink);
    wait_until("the node is gone", || nodes(&server).is_empty());
    let mut source = device(&server.node()).open_source(&WHO, &spec).unwrap();
    source.start().unwrap();
    expected("Stream/Input/Audio");
}

#[test]
fn what_the_servers_user_sets_is_told_and_stays_and_concerns_the_guest_alone() {
    let server = Server::start_remembering(Kind::PipeWire);
    assert_what_the_user_sets_stays(&server, &format!("pipewire@{}", server.pipewire_address()));
}

#[test]
fn the_end_of_the_server_wakes_the_owners_of_streams_that_stand() {
    let mut server = start();
    let device = silent_device(&server.node());
    let mut sink = device.open_sink(&WHO, &SPEC).unwrap();
    let mut source = device.open_source(&WHO, &SPEC).unwrap();
    tend(sink.as_mut());
    tend(source.as_mut());
    server.kill();
    await_loss(sink.as_mut());
    await_loss(source.as_mut());
}

#[test]
fn several_streams_share_a_node_and_are_mixed() {
    let server = start();
    let mut sinks: Vec<_> = (0..3).map(|_| device(&server.node()).open_sink(&WHO, &SPEC).unwrap()).collect();
    for sink in &mut sinks {
        sink.start().unwrap();
    }
    // An eighth of full scale each.
    let loud: Vec<u8> = 4_096_i16.to_le_bytes().repeat(4_800 * 2);
    let recording = server.record();
    wait_until("the sum is heard", || {
        for sink in &mut sinks {
            sink.write(&loud).unwrap();
            tend(sink.as_mut());
        }
        let bytes = recording.bytes();
        let mut samples = bytes.as_chunks::<4>().0.iter().map(|&sample| f32::from_le_bytes(sample));
        samples.any(|sample| (sample - 0.375).abs() < 0.001)
    });
}

#[test]
fn each_format_that_is_offered_is_heard_and_what_nothing_converts_is_not_offered() {
    let server = start();
    let formats = device(&server.node()).capabilities(&WHO, Direction::Playback).unwrap().formats;
    for format in Format::all() {
        assert_eq!(formats.contains(format), pcm::is_decodable(format), "{format}");
    }
    let recording = server.record();
    for format in Format::all().filter(|&format| formats.contains(format)) {
        let spec = StreamSpec { format, ..SPEC };
        let sine = common::sine(&spec, 997.0, 0.5, 16_800);
        let mut sink = device(&server.node()).open_sink(&WHO, &spec).unwrap();
        let mut from = recording.bytes().len() / 8 * 8;
        wait_until(&format!("{format} is heard"), || {
            play(&mut *sink, spec.frame_bytes(), &sine);
            let heard = recording.since(from);
            from += heard.len();
            is_tone(Format::F32Le, &heard, 997.0, 0.5)
        });
    }
}

#[test]
fn what_the_server_converts_is_heard_with_its_frequency_and_level() {
    let server = start();
    let recording = server.record();
    for (format, rate_hz, channels) in
        [(Format::F64Be, 44_100, 2), (Format::MuLaw, 8_000, 2), (Format::U24Le, 96_000, 1), (Format::S16Le, 48_000, 3)]
    {
        // Periods of 100 ms.
        let spec =
            StreamSpec { format, rate_hz, channels, period_frames: rate_hz / 10, buffer_frames: rate_hz / 10 * 4 };
        let mut sink = device(&server.node()).open_sink(&WHO, &spec).unwrap();
        let sine = common::sine(&spec, 997.0, 0.5, rate_hz as usize / 2);
        let mut from = recording.bytes().len() / 8 * 8;
        wait_until(&format!("{format} at {rate_hz} Hz, {channels} channel(s) as it is"), || {
            play(&mut *sink, spec.frame_bytes(), &sine);
            let heard = recording.since(from);
            from += heard.len();
            is_tone(Format::F32Le, &heard, 997.0, 0.5)
        });
    }
}

#[test]
fn after_a_gap_of_any_length_every_frame_is_heard_once() {
    let server = Server::start(Kind::PipeWire);
    let heard = server.hear();
    let node = format!("pipewire:heard@{}", server.pipewire_address());
    let device = device(&node);
    assert_heard_behind_every_gap(&heard, || play_with_every_gap(device.as_ref()));
}

#[test]
fn a_stream_that_ran_dry_lets_the_host_suspend_its_card() {
    let server = start();
    let mut sink = device(&server.node()).open_sink(&WHO, &SPEC).unwrap();
    play(sink.as_mut(), 4, &silence(4 * 9_600));
    wait_until("the sink rests", || {
        tend(sink.as_mut());
        !sink_runs(&server)
    });
    play(sink.as_mut(), 4, &silence(4 * 9_600));
}

#[test]
fn each_channel_is_at_its_own_speaker_on_a_server() {
    let server = start();
    let node = format!("pipewire:many@{}", server.pipewire_address());
    assert_each_channel_is_at_its_own_speaker(&server, (&node, &node));
}
