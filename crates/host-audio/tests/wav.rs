//! WAV files as sinks, as sources, and written directly.

use host_audio::{
    Capabilities, DeviceOptions, DeviceSpec, Direction, Error, HostDevice, Pacing, Sink, StreamAddress, StreamSpec,
    finish_all, wav,
};
use pcm::Linear;
use sndif::Format;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const WHO: StreamAddress = StreamAddress { domain: 7, card: 1, pcm: 2, stream: 3 };
const LONG: Duration = Duration::from_secs(10);

fn spec(format: Format, channels: u8) -> StreamSpec {
    StreamSpec { format, rate_hz: 48_000, channels, period_frames: 480, buffer_frames: 4_800 }
}

fn device(path: &Path) -> Box<dyn HostDevice> {
    DeviceSpec::Wav(path.to_owned()).device(&DeviceOptions::default())
}

fn capabilities(path: &Path) -> Result<Capabilities, Error> {
    device(path).capabilities(&WHO, Direction::Capture)
}

/// Frames whose bytes differ enough to show a shift.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let byte = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..bytes).map(byte).collect()
}

fn write_all(sink: &mut dyn Sink, frame_bytes: usize, mut frames: &[u8]) {
    while !frames.is_empty() {
        let taken = sink.write(frames).unwrap();
        frames = &frames[taken * frame_bytes..];
    }
}

#[test]
fn what_a_sink_was_given_is_in_the_file_after_finish_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("{domain}-{card}-{pcm}-{stream}.wav");
    let data = noise(48_000 * 4);
    let mut sink = device(&path).begin_sink(&WHO, &spec(Format::S16Le, 2)).unwrap();
    assert!(matches!(sink.pacing(), Pacing::Caller));
    sink.start().unwrap();
    write_all(&mut *sink, 4, &data);
    assert_eq!((sink.queued_frames(), sink.xruns()), (0, 0));
    // Open sinks are brought up to date, dropped ones are finished.
    assert!(finish_all(LONG));
    let file = dir.path().join("7-1-2-3.wav");
    assert_eq!(wav::read_file(&file).unwrap().data, data);
    write_all(&mut *sink, 4, &data[..400]);
    drop(sink);
    assert!(finish_all(LONG));
    let audio = wav::read_file(&file).unwrap();
    assert_eq!((audio.format, audio.rate_hz, audio.channels), (Format::S16Le, 48_000, 2));
    assert_eq!(audio.data, [&data[..], &data[..400]].concat());
}

#[test]
fn every_format_comes_back_from_a_file_through_a_source() {
    let dir = tempfile::tempdir().unwrap();
    for format in wav::writable_formats().iter() {
        for channels in [1, 2, 3] {
            let path = dir.path().join(format!("{format}-{channels}.wav"));
            let spec = spec(format, channels);
            let mut data = noise(spec.frame_bytes() * 50);
            if let Some(layout) = Linear::of(format) {
                // A 24-bit container's top byte is not kept, but made again.
                for sample in data.chunks_exact_mut(layout.bytes()) {
                    layout.encode(layout.decode(sample), sample);
                }
            }
            let mut writer = wav::Writer::create(&path, format, 48_000, channels).unwrap();
            writer.write(&data).unwrap();
            drop(writer);
            let can = capabilities(&path).unwrap();
            if matches!(format, Format::Iec958SubframeLe | Format::Iec958SubframeBe) {
                assert!(!can.formats.contains(format));
                continue;
            }
            assert!(can.allow(&spec), "{format}");
            assert!(!can.allow(&StreamSpec { rate_hz: 44_100, ..spec }));
            assert!(!can.allow(&StreamSpec { channels: channels + 1, ..spec }));
            let mut source = device(&path).begin_source(&WHO, &spec).unwrap();
            source.start().unwrap();
            let mut read = vec![0; data.len()];
            assert_eq!(source.read(&mut read).unwrap(), 50, "{format}");
            assert_eq!(read, data, "{format}");
        }
    }
}

#[test]
fn hound_reads_what_the_writer_writes() {
    let dir = tempfile::tempdir().unwrap();
    for (format, bits, channels) in [
        (Format::S8, 8, 1),
        (Format::S16Be, 16, 2),
        (Format::U16Le, 16, 4),
        (Format::S24Be, 24, 2),
        (Format::U24Le, 24, 3),
        (Format::S32Le, 32, 2),
    ] {
        let path = dir.path().join(format!("{format}.wav"));
        let layout = Linear::of(format).unwrap();
        let data = noise(layout.bytes() * usize::from(channels) * 7);
        let mut writer = wav::Writer::create(&path, format, 44_100, channels).unwrap();
        writer.write(&data).unwrap();
        let mut reader = hound::WavReader::open(&path).unwrap();
        assert_eq!((reader.spec().bits_per_sample, reader.spec().channels), (bits, u16::from(channels)));
        let shift = 32 - u32::from(bits);
        let expected: Vec<i32> = data.chunks_exact(layout.bytes()).map(|s| layout.decode(s) >> shift).collect();
        let read: Vec<i32> = reader.samples().map(Result::unwrap).collect();
        assert_eq!(read, expected, "{format}");
    }
    let path = dir.path().join("float.wav");
    let mut writer = wav::Writer::create(&path, Format::F32Be, 44_100, 1).unwrap();
    writer.write(&0.25_f32.to_be_bytes()).unwrap();
    let mut reader = hound::WavReader::open(&path).unwrap();
    assert_eq!(reader.samples::<f32>().map(Result::unwrap).collect::<Vec<_>>(), [0.25]);
}

#[test]
fn what_hound_writes_is_read() {
    let dir = tempfile::tempdir().unwrap();
    for (bits, format) in [(8, Format::U8), (16, Format::S16Le), (24, Format::S24Le), (32, Format::S32Le)] {
        let path = dir.path().join(format!("{bits}.wav"));
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: 48_000,
            bits_per_sample: bits,
            sample_format: hound::SampleFormat::Int,
        };
        let samples: Vec<i32> = (-20..20).collect();
        let mut writer = hound::WavWriter::create(&path, spec).unwrap();
        samples.iter().for_each(|&sample| writer.write_sample(sample).unwrap());
        writer.finalize().unwrap();
        let audio = wav::read_file(&path).unwrap();
        assert_eq!((audio.format, audio.channels), (format, 2));
        let layout = Linear::of(format).unwrap();
        let shift = 32 - layout.bits();
        let read: Vec<i32> = audio.data.chunks_exact(layout.bytes()).map(|s| layout.decode(s) >> shift).collect();
        assert_eq!(read, samples);
    }
}

#[test]
fn a_file_is_valid_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("live.wav");
    let data = noise(48_000 * 3);
    let mut sink = device(&path).begin_sink(&WHO, &spec(Format::U8, 1)).unwrap();
    let mut seen = 0;
    for block in data.chunks(481) {
        write_all(&mut *sink, 1, block);
        // The file is empty until its thread has written the first samples.
        if fs::metadata(&path).unwrap().len() == 0 {
            continue;
        }
        let audio = wav::read_file(&path).unwrap();
        assert!(audio.data.len() >= seen);
        assert_eq!(audio.data, data[..audio.data.len()]);
        seen = audio.data.len();
    }
    // Nobody finishes the file, yet all of it is there soon.
    let deadline = Instant::now() + LONG;
    while !wav::read_file(&path).is_ok_and(|audio| audio.data == data) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(hound::WavReader::open(&path).is_ok());
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.wav");
    fs::write(&path, "mine").unwrap();
    fs::write(dir.path().join("x-2.wav"), "mine").unwrap();
    let mut sink = device(&path).begin_sink(&WHO, &spec(Format::S16Le, 1)).unwrap();
    write_all(&mut *sink, 2, &[1, 2]);
    drop(sink);
    assert!(finish_all(LONG));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    assert_eq!(wav::read_file(&dir.path().join("x-3.wav")).unwrap().data, [1, 2]);
    let error = wav::Writer::create(&path, Format::U8, 8_000, 1).unwrap_err().to_string();
    assert!(error.contains("cannot create") && error.contains("x.wav") && error.contains("exists"), "{error}");
}

#[test]
fn a_sink_that_was_given_nothing_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    drop(device(&dir.path().join("x.wav")).begin_sink(&WHO, &spec(Format::S16Le, 1)).unwrap());
    assert!(finish_all(LONG));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn after_its_end_a_file_is_silent_and_before_the_start_it_gives_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.wav");
    wav::Writer::create(&path, Format::U8, 48_000, 1).unwrap().write(&[1, 2, 3]).unwrap();
    let mut source = device(&path).begin_source(&WHO, &spec(Format::U8, 1)).unwrap();
    let mut frames = [9; 5];
    assert_eq!((source.available_frames(), source.read(&mut frames).unwrap()), (0, 0));
    source.start().unwrap();
    assert_eq!(source.read(&mut frames).unwrap(), 5);
    assert_eq!(frames, [1, 2, 3, 0x80, 0x80]);
    assert_eq!(source.available_frames(), usize::MAX);
    assert_eq!(source.read(&mut frames).unwrap(), 5);
    assert_eq!(frames, [0x80; 5]);
}

#[test]
fn a_long_file_comes_whole_through_the_reading_thread() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long.wav");
    let data = noise(12 * 300_001);
    wav::Writer::create(&path, Format::S32Le, 48_000, 3).unwrap().write(&data).unwrap();
    let mut source = device(&path).begin_source(&WHO, &spec(Format::S32Le, 3)).unwrap();
    source.start().unwrap();
    let mut read = Vec::new();
    while read.len() < data.len() {
        let frames = source.available_frames().min(1_000).min((data.len() - read.len()) / 12);
        let mut block = vec![0; frames * 12];
        assert_eq!(source.read(&mut block).unwrap(), frames);
        read.extend_from_slice(&block);
    }
    assert!(read == data);
    assert_eq!(source.xruns(), 0);
}

#[test]
fn a_file_that_cannot_be_read_says_which_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let text = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        let error = capabilities(&path).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        error
    };
    assert!(text("a.wav", b"this is some text").contains("not a WAV file"));
    let path = dir.path().join("b.wav");
    wav::Writer::create(&path, Format::S16Le, 48_000, 1).unwrap().write(&[0; 100]).unwrap();
    let whole = fs::read(&path).unwrap();
    assert!(text("c.wav", &whole[..30]).contains("truncated"));
    let missing = capabilities(&dir.path().join("none.wav")).unwrap_err().to_string();
    assert!(missing.contains("none.wav") && missing.contains("No such file"), "{missing}");
    assert!(capabilities(Path::new("/dev/zero")).unwrap_err().to_string().contains("not a regular file"));
}

#[test]
fn what_a_file_cannot_carry_is_refused_with_what_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.wav");
    let error = device(&path).begin_sink(&WHO, &spec(Format::Mpeg, 2)).err().unwrap().to_string();
    assert!(error.contains("mpeg 48000 Hz") && error.contains("mu_law"), "{error}");
    wav::Writer::create(&path, Format::S16Le, 8_000, 1).unwrap().write(&[0; 2]).unwrap();
    let error = device(&path).begin_source(&WHO, &spec(Format::S16Le, 1)).err().unwrap().to_string();
    assert!(error.contains("s16_le s16_be u16_le u16_be") && error.contains("8000 to 8000 Hz"), "{error}");
}

#[test]
fn a_missing_directory_is_named() {
    let error = device(Path::new("/nonexistent/x.wav")).begin_sink(&WHO, &spec(Format::U8, 1)).err().unwrap();
    assert!(error.to_string().contains("cannot create `/nonexistent/x.wav`: No such file"), "{error}");
}

/// A frame in which each channel has a level of its own, in the order of the wire.
fn levels(channels: u8) -> Vec<u8> {
    (1..=i16::from(channels)).flat_map(|channel| (channel * 1_000).to_le_bytes()).collect()
}

#[test]
fn each_level_is_at_its_own_speaker_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    for channels in 1..=8_u8 {
        let path = dir.path().join(format!("{channels}.wav"));
        let spec = spec(Format::S16Le, channels);
        let mut sink = device(&path).begin_sink(&WHO, &spec).unwrap();
        write_all(&mut *sink, usize::from(channels) * 2, &levels(channels).repeat(480));
        drop(sink);
        assert!(finish_all(Duration::from_secs(60)));
        // The order of the mask's bits, as every other program reads it: front pair, centre, LFE, back pair, side pair.
        let file: &[i32] = match channels {
            5 => &[1, 2, 5, 3, 4],
            6 => &[1, 2, 5, 6, 3, 4],
            8 => &[1, 2, 5, 6, 3, 4, 7, 8],
            _ => &[1, 2, 3, 4, 5, 6, 7][..usize::from(channels)],
        };
        let mut read = hound::WavReader::open(&path).unwrap();
        let samples: Vec<i32> = read.samples::<i32>().map(Result::unwrap).take(file.len()).collect();
        assert_eq!(samples, file.iter().map(|level| level * 1_000).collect::<Vec<_>>(), "{channels} channels");
        assert_eq!(wav::read_file(&path).unwrap().data, levels(channels).repeat(480));
        let mut source = device(&path).begin_source(&WHO, &spec).unwrap();
        source.start().unwrap();
        let mut frame = levels(channels);
        frame.fill(0);
        source.read(&mut frame).unwrap();
        assert_eq!(frame, levels(channels), "{channels} channels");
    }
}
