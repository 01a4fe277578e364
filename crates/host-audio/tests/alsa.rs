//! ALSA PCMs that need no sound card: `null`, and `file` before it.
#![cfg(feature = "alsa")]

mod common;

use common::{
    OpenAndWait, QUIET, SPEC, WHO, assert_heard_behind_every_gap, noise, paced, paced_within, play,
    play_with_every_gap, wait_until,
};
use host_audio::{DeviceOptions, DeviceSpec, Direction, HostDevice, Minimums, Notice, Sink, StreamSpec};
use sndif::Format;
use sound_servers::{Kind, Server};
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

fn device(name: &str) -> Box<dyn HostDevice> {
    common::device(&format!("alsa:{name}"))
}

#[test]
fn bytes_arrive_as_they_are_and_in_real_time() {
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("x.raw");
    let name = format!("file:FILE='{}',FORMAT=raw", raw.display());
    for format in [Format::S16Le, Format::S24Le, Format::F32Le, Format::U8] {
        let spec = StreamSpec { format, ..SPEC };
        let data = noise(spec.frame_bytes() * 14_400);
        let mut sink = device(&name).open_sink(&WHO, &spec).unwrap();
        let begin = Instant::now();
        play(&mut *sink, spec.frame_bytes(), &data);
        let took = begin.elapsed();
        // 300 ms, less the 0.1 % that a fast clock may gain; a busy machine may take longer.
        assert!(took >= Duration::from_millis(299), "{took:?}");
        drop(sink);
        // The file is complete when its thread has closed the PCM.
        wait_until(&format!("{format}: all of it is in the file"), || fs::read(&raw).unwrap() == data);
        fs::remove_file(&raw).unwrap();
    }
}

#[test]
fn a_pcm_that_waits_for_its_server_keeps_nobody_waiting() {
    const ITSELF: &str = "a_pcm_that_waits_for_its_server_keeps_nobody_waiting";
    const FIFO: &str = "VSND_TEST_FIFO";
    let Some(fifo) = std::env::var_os(FIFO) else {
        // ALSA finds its configuration by the environment: this test runs again in a process of its own.
        let dir = tempfile::tempdir().unwrap();
        let (fifo, config) = (dir.path().join("fifo"), dir.path().join("alsa.conf"));
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let waits = format!("type file slave.pcm null file /dev/null infile \"{}\" format raw", fifo.display());
        fs::write(&config, format!("</usr/share/alsa/alsa.conf>\npcm.waits {{ {waits} }}\n")).unwrap();
        let mut again = Command::new(std::env::current_exe().unwrap());
        let again = again.args(["--exact", ITSELF]).env(FIFO, fifo).env("ALSA_CONFIG_PATH", config).output().unwrap();
        assert!(String::from_utf8_lossy(&again.stdout).contains("1 passed"), "{again:?}");
        return;
    };
    // Opening the PCM waits until somebody writes into the FIFO.
    let asked = |device: &dyn HostDevice| device.capabilities(&WHO, Direction::Capture);
    let slow =
        |device: &dyn HostDevice| matches!(asked(device), Err(error) if *error.kind() == host_audio::ErrorKind::Slow);
    // The default patience, which is short.
    let waiting = DeviceSpec::Alsa("waits".into()).device(&DeviceOptions::default());
    assert!(slow(&*waiting), "{:?}", asked(&*waiting));
    assert_eq!(waiting.minimums(Direction::Capture, &SPEC), Minimums::default());
    assert!(slow(&*DeviceSpec::Alsa("waits".into()).device(&DeviceOptions::default())));
    assert!(asked(&*device("null")).is_ok());
    // Streams that are opened and dropped leave no more behind than the first of them did.
    let held = || ["task", "fd"].map(|what| fs::read_dir(format!("/proc/self/{what}")).unwrap().count());
    let round = || {
        let opened = waiting.begin_source(&WHO, &SPEC);
        std::thread::sleep(Duration::from_millis(2));
        drop(opened);
    };
    (0..3).for_each(|_| round());
    std::thread::sleep(QUIET + QUIET / 2);
    let before = held();
    (0..500).for_each(|_| round());
    wait_until("nothing is left behind", || held().iter().zip(before).all(|(held, before)| *held <= before));
    let _writer = fs::OpenOptions::new().write(true).open(fifo).unwrap();
    wait_until("it answers", || asked(&*waiting).is_ok());
}

#[test]
fn null_keeps_real_time_and_a_short_queue() {
    for name in ["null", "plug:null"] {
        let mut sink = device(name).open_sink(&WHO, &SPEC).unwrap();
        sink.start().unwrap();
        let begin = Instant::now();
        let (mut accepted, mut last) = (0, 0);
        let block = vec![0; SPEC.frame_bytes() * 4_800];
        // Longer than it takes to find out that the PCM has no clock.
        while last < 72_000 {
            accepted += sink.write(&block).unwrap() as u64;
            let queued = sink.queued_frames();
            let position = accepted - queued;
            let now = begin.elapsed().as_micros() as u64 * 48 / 1_000;
            assert!(position >= last, "{name}: back from {last} to {position}");
            assert!(position <= now + 48 + now / 1_000, "{name}: {position} ahead of {now}");
            assert!(queued <= 2_000, "{name}: {queued} queued");
            last = position;
            assert!(paced(&mut *sink));
        }
    }
}

#[test]
fn a_sink_without_data_sleeps_and_time_without_data_is_not_made_up_for() {
    let mut sink = device("null").open_sink(&WHO, &SPEC).unwrap();
    play(&mut *sink, 4, &noise(4 * 960));
    while paced_within(&mut *sink, QUIET) {}
    let begin = Instant::now();
    play(&mut *sink, 4, &noise(4 * 4_800));
    assert!(begin.elapsed() >= Duration::from_millis(99), "{:?}", begin.elapsed());
}

#[test]
fn a_gap_is_an_xrun_but_an_end_is_not() {
    let mut sink = device("null").open_sink(&WHO, &SPEC).unwrap();
    sink.start().unwrap();
    let wait_until_dry = |sink: &mut dyn Sink| {
        while sink.queued_frames() > 0 {
            assert!(paced(sink));
        }
    };
    sink.write(&noise(4 * 480)).unwrap();
    wait_until_dry(&mut *sink);
    assert_eq!(sink.xruns(), 0);
    sink.write(&noise(4 * 480)).unwrap();
    wait_until_dry(&mut *sink);
    assert_eq!(sink.xruns(), 1);
    sink.stop().unwrap();
    sink.start().unwrap();
    sink.write(&noise(4 * 480)).unwrap();
    wait_until_dry(&mut *sink);
    assert_eq!(sink.xruns(), 1);
}

#[test]
fn a_stop_forgets_what_is_queued_at_once() {
    let mut sink = device("null").open_sink(&WHO, &SPEC).unwrap();
    assert!(sink.write(&noise(4 * 480)).unwrap() == 480);
    assert_eq!(sink.queued_frames(), 480);
    sink.stop().unwrap();
    assert_eq!(sink.queued_frames(), 0);
    play(&mut *sink, 4, &noise(4 * 480));
    sink.write(&noise(4 * 480)).unwrap();
    sink.stop().unwrap();
    assert_eq!(sink.queued_frames(), 0);
}

#[test]
fn frames_after_a_stop_are_not_lost_with_those_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("x.raw");
    let name = format!("file:FILE='{}',FORMAT=raw", raw.display());
    let mut sink = device(&name).open_sink(&WHO, &SPEC).unwrap();
    assert_eq!(sink.write(&[1; 4 * 480]).unwrap(), 480);
    sink.stop().unwrap();
    assert_eq!(sink.write(&[2; 4 * 480]).unwrap(), 480);
    play(&mut *sink, 4, &[]);
    drop(sink);
    wait_until("the file has the frames after it and no others", || fs::read(&raw).unwrap() == [2; 4 * 480]);
}

#[test]
fn a_paused_sink_keeps_its_place() {
    let mut sink = device("null").open_sink(&WHO, &SPEC).unwrap();
    sink.start().unwrap();
    sink.pause(true).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let taken = sink.write(&noise(4 * 480)).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(sink.queued_frames(), taken as u64);
    sink.pause(false).unwrap();
    play(&mut *sink, 4, &[]);
}

#[test]
fn null_gives_silence_in_real_time() {
    let mut source = device("null").open_source(&WHO, &SPEC).unwrap();
    let mut block = vec![1; 4 * 4_800];
    assert_eq!(source.read(&mut block).unwrap(), 0);
    source.start().unwrap();
    let begin = Instant::now();
    let mut frames = 0;
    while frames < 72_000 {
        assert!(paced(&mut *source));
        let read = source.read(&mut block).unwrap();
        assert!(block[..read * 4].iter().all(|&byte| byte == 0));
        frames += read as u64;
        let now = begin.elapsed().as_micros() as u64 * 48 / 1_000;
        assert!(frames <= now + 48 + now / 1_000, "{frames} ahead of {now}");
    }
}

#[test]
fn what_nobody_reads_is_lost_and_counted() {
    let mut source = device("null").open_source(&WHO, &SPEC).unwrap();
    source.start().unwrap();
    while source.xruns() == 0 {
        assert!(paced(&mut *source), "it is counted");
    }
    for _ in 0..20 {
        paced(&mut *source);
    }
    assert_eq!(source.xruns(), 1);
    source.stop().unwrap();
}

#[test]
fn capabilities_are_had_without_holding_the_pcm() {
    let null = device("null");
    for direction in [Direction::Playback, Direction::Capture] {
        let can = null.capabilities(&WHO, direction).unwrap();
        assert!(can.allow(&SPEC), "{can:?}");
        assert!(!can.formats.contains(Format::Gsm));
    }
}

#[test]
fn the_least_period_and_buffer_are_the_pcms_own_and_nothing_where_it_is_not_there() {
    let spec = StreamSpec { format: Format::U8, rate_hz: 8_000, channels: 1, ..SPEC };
    for name in ["null", "plug:null"] {
        let least = device(name).minimums(Direction::Playback, &spec);
        let opened = StreamSpec { period_frames: least.period_frames, buffer_frames: least.buffer_frames, ..spec };
        assert!(least.period_frames > 0 && least.buffer_frames >= 2 * least.period_frames, "{name}: {least:?}");
        play(&mut *device(name).open_sink(&WHO, &opened).unwrap(), 1, &noise(80));
    }
    assert_eq!(device("no_such_pcm").minimums(Direction::Playback, &spec), Minimums::default());
}

/// ALSA's plugin for PulseAudio has periods of at least 128 bytes: 16 ms of this stream.
const COARSE: StreamSpec = StreamSpec { format: Format::U8, rate_hz: 8_000, channels: 1, ..SPEC };

/// Variable in the environment of a process that has a server of its own.
const INNER: &str = "VSND_TEST_PULSEAUDIO";

/// Runs `test` in a process of its own, which has this server: ALSA's plugins take the server from the environment, or
/// from the configuration. Fails if `test` fails; returns the text that it printed behind `told: `.
fn run_beside(server: &Server, test: &str) -> String {
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test, "--nocapture"]).env(INNER, "1").env("PULSE_SERVER", server.address());
    let configured = tempfile::NamedTempFile::new().unwrap();
    if server.kind() == Kind::PipeWire {
        fs::write(&configured, server.alsa_configuration()).unwrap();
        // Capture from a sink gives what the sink plays.
        again.env("ALSA_CONFIG_PATH", configured.path()).env("PIPEWIRE_PROPS", "{ stream.capture.sink = true }");
    }
    let output = again.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8_lossy(&output.stdout);
    printed.lines().find_map(|line| line.split("told: ").nth(1)).unwrap_or_default().to_owned()
}

#[test]
fn a_pcm_with_a_shortest_period_says_so_and_plays_with_it() {
    if std::env::var_os(INNER).is_none() {
        run_beside(&Server::start(Kind::PulseAudio), "a_pcm_with_a_shortest_period_says_so_and_plays_with_it");
        return;
    }
    let least = device("pulse").minimums(Direction::Playback, &COARSE);
    assert_eq!(least.period_frames, 128);
    assert!(least.buffer_frames >= 256, "{least:?}");
    let spec = StreamSpec { period_frames: least.period_frames, buffer_frames: least.buffer_frames, ..COARSE };
    play(&mut *device("pulse").open_sink(&WHO, &spec).unwrap(), 1, &noise(4_000));
}

/// Plays with every gap to `pcm`, in a process that has only this server, and checks that nothing was lost.
#[expect(clippy::print_stdout, reason = "what it played is told to the process that started this one")]
fn every_frame_is_heard_after_a_gap(kind: Kind, pcm: &str, test: &str) {
    if std::env::var_os(INNER).is_some() {
        let runs = play_with_every_gap(device(pcm).as_ref());
        println!("told: {}", runs.iter().map(|run| run.end.to_string()).collect::<Vec<_>>().join(" "));
        return;
    }
    let server = Server::start(kind);
    let heard = server.hear();
    assert_heard_behind_every_gap(&heard, || {
        let told = run_beside(&server, test);
        let ends: Vec<usize> = told.split(' ').map(|end| end.parse().unwrap()).collect();
        std::iter::once(0)
            .chain(ends.iter().copied())
            .zip(ends.iter().copied())
            .map(|(begin, end)| begin..end)
            .collect()
    });
}

#[test]
fn of_alsas_plugin_for_pulseaudio_every_frame_is_heard_after_a_gap_of_any_length() {
    let test = "of_alsas_plugin_for_pulseaudio_every_frame_is_heard_after_a_gap_of_any_length";
    every_frame_is_heard_after_a_gap(Kind::PulseAudio, "pulse:heard", test);
}

#[test]
fn of_pipewires_plugin_for_alsa_every_frame_is_heard_after_a_gap_of_any_length() {
    let test = "of_pipewires_plugin_for_alsa_every_frame_is_heard_after_a_gap_of_any_length";
    every_frame_is_heard_after_a_gap(Kind::PipeWire, "pipewire", test);
}

/// Plays, runs dry, and waits until the server's sink rests; twice.
fn a_dry_stream_lets_the_sink_rest(kind: Kind, pcm: &str, test: &str) {
    if std::env::var_os(INNER).is_none() {
        run_beside(&Server::start(kind), test);
        return;
    }
    let sink_runs = || {
        let sinks = Command::new("pactl").args(["list", "short", "sinks"]).output().unwrap().stdout;
        String::from_utf8(sinks).unwrap().lines().any(|line| line.contains("\tout\t") && line.ends_with("RUNNING"))
    };
    let mut sink = device(pcm).open_sink(&WHO, &SPEC).unwrap();
    for _ in 0..2 {
        sink.start().unwrap();
        let silence = vec![0; 4 * 9_600];
        wait_until("the sink runs", || {
            play(&mut *sink, 4, &silence);
            sink_runs()
        });
        wait_until("the sink rests", || !sink_runs());
    }
}

#[test]
fn of_alsas_plugin_for_pulseaudio_a_dry_stream_lets_the_sink_rest() {
    let test = "of_alsas_plugin_for_pulseaudio_a_dry_stream_lets_the_sink_rest";
    a_dry_stream_lets_the_sink_rest(Kind::PulseAudio, "pulse:out", test);
}

#[test]
fn of_pipewires_plugin_for_alsa_a_dry_stream_lets_the_sink_rest() {
    let test = "of_pipewires_plugin_for_alsa_a_dry_stream_lets_the_sink_rest";
    a_dry_stream_lets_the_sink_rest(Kind::PipeWire, "both", test);
}

/// Captures frames that are played meanwhile, stands still for two seconds, stops and pauses for as long, and captures
/// again each time. The capture may be lost only where a plain recorder of the same server stands still as well.
#[expect(clippy::print_stdout, reason = "the losses are told to the process that started this one")]
fn capture_goes_on(kind: Kind, (played, captured): (&str, &str), test: &str) {
    if std::env::var_os(INNER).is_none() {
        let server = Server::start(kind);
        let recorder = PlainRecorder::start(&server);
        let told = run_beside(&server, test);
        for loss in told.split_terminator(';') {
            let [rest, began_ms, noticed_ms] = loss.split(',').collect::<Vec<_>>()[..] else { panic!("{told}") };
            let stretch = began_ms.parse().unwrap()..noticed_ms.parse().unwrap();
            assert!(recorder.stood_still_in(&stretch), "capture that {rest} is lost: {told}; {:?}", recorder.pauses());
        }
        return;
    }
    // Periods of 100 ms, of which a server gets several ahead. With 10 ms a server on a busy machine runs dry, takes back
    // what it has rendered, and has nothing to capture for a second.
    let spec = StreamSpec { period_frames: 4_800, buffer_frames: 48_000, ..SPEC };
    let mut source = device(captured).open_source(&WHO, &spec).unwrap();
    let mut sink = device(played).open_sink(&WHO, &spec).unwrap();
    let mut told = String::new();
    for rest in ["stands still", "is stopped", "is paused", ""] {
        let began_ms = unix_ms();
        source.start().unwrap();
        sink.start().unwrap();
        let (mut frames, mut loud) = (vec![0; 65_536], 0);
        wait_until("what is played is captured", || {
            let block = noise(4 * sink.room_frames());
            sink.write(&block).unwrap();
            paced_within(&mut *source, QUIET);
            sink.acknowledge().unwrap();
            let read = source.read(&mut frames).unwrap();
            loud += frames[..4 * read].chunks_exact(4).filter(|frame| *frame != [0; 4]).count();
            loud > 24_000
        });
        match rest {
            "is stopped" => source.stop().unwrap(),
            "is paused" => source.pause(true).unwrap(),
            _ => {}
        }
        // Without a stream to play, PulseAudio's null sink goes on in leaps of two seconds, and so does capture from
        // its monitor.
        let over = Instant::now() + 2 * QUIET;
        while Instant::now() < over {
            let block = noise(4 * sink.room_frames());
            sink.write(&block).unwrap();
            paced(&mut *sink);
        }
        if rest == "is paused" {
            source.pause(false).unwrap();
        }
        if matches!(source.notice(), Some(Notice::Lost(_))) {
            told += &format!("{rest},{began_ms},{};", unix_ms());
        }
    }
    println!("told: {told}");
}

/// Milliseconds since 1970.
fn unix_ms() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()
}

/// A recorder of the server's own, with the period of the capture that is tested: shows when the server itself has
/// nothing to give. Its pauses are those that are longer than half of what our capture is lost after.
struct PlainRecorder {
    recorder: Child,
    pauses: Arc<Mutex<Vec<Range<u128>>>>,
}

impl PlainRecorder {
    fn start(server: &Server) -> Self {
        let mut command = Command::new("parec");
        command.args(["--device=out.monitor", "--raw", "--latency-msec=100"]).env("PULSE_SERVER", server.address());
        let mut recorder = command.stdout(Stdio::piped()).spawn().unwrap();
        let (mut sound, pauses) = (recorder.stdout.take().unwrap(), Arc::<Mutex<Vec<_>>>::default());
        let kept = Arc::clone(&pauses);
        std::thread::spawn(move || {
            let (mut bytes, mut last_ms) = ([0; 65_536], unix_ms());
            while sound.read(&mut bytes).is_ok_and(|read| read > 0) {
                let pause = last_ms..unix_ms();
                last_ms = pause.end;
                if pause.end - pause.start > 500 {
                    kept.lock().unwrap().push(pause);
                }
            }
        });
        Self { recorder, pauses }
    }

    fn pauses(&self) -> Vec<Range<u128>> {
        self.pauses.lock().unwrap().clone()
    }

    /// Returns true if the server paused within the stretch. A pause that began before belongs to the time in which
    /// nothing played.
    fn stood_still_in(&self, stretch: &Range<u128>) -> bool {
        // The last pause may not have ended yet.
        std::thread::sleep(2 * QUIET);
        self.pauses().iter().any(|pause| stretch.contains(&pause.start))
    }
}

impl Drop for PlainRecorder {
    fn drop(&mut self) {
        let _ = self.recorder.kill();
        let _ = self.recorder.wait();
    }
}

#[test]
fn alsas_plugin_for_pulseaudio_captures_again_after_every_rest() {
    let pcms = ("pulse:out", "pulse:out.monitor");
    capture_goes_on(Kind::PulseAudio, pcms, "alsas_plugin_for_pulseaudio_captures_again_after_every_rest");
}

#[test]
fn pipewires_plugin_for_alsa_captures_again_after_every_rest() {
    capture_goes_on(Kind::PipeWire, ("both", "both"), "pipewires_plugin_for_alsa_captures_again_after_every_rest");
}

#[test]
fn a_pcm_that_is_not_there_is_named_with_what_helps() {
    let device = device("no_such_pcm");
    let error = device.capabilities(&WHO, Direction::Playback).unwrap_err().to_string();
    assert!(error.starts_with("cannot use ALSA playback PCM `no_such_pcm`: No such file or directory"), "{error}");
    assert!(error.ends_with("`aplay -L` lists what there is"), "{error}");
    let error = device.open_source(&WHO, &SPEC).err().unwrap().to_string();
    assert!(error.contains("capture PCM") && error.contains("`arecord -L`"), "{error}");
}

#[test]
fn a_stream_that_a_pcm_cannot_carry_is_refused() {
    let error = device("null").open_sink(&WHO, &StreamSpec { format: Format::Mpeg, ..SPEC }).err().unwrap();
    assert!(error.to_string().contains("`alsa:null` cannot carry mpeg"), "{error}");
}
