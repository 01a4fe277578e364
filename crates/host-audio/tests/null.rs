//! The null device.

use host_audio::{DeviceOptions, DeviceSpec, Direction, Pacing, StreamAddress, StreamSpec};
use sndif::{Format, FormatSet};

const WHO: StreamAddress = StreamAddress { domain: 7, card: 0, pcm: 0, stream: 0 };
const SPEC: StreamSpec =
    StreamSpec { format: Format::U16Le, rate_hz: 48_000, channels: 1, period_frames: 480, buffer_frames: 4_800 };

#[test]
fn null_takes_every_format_and_all_that_it_is_given() {
    let device = DeviceSpec::Null.device(&DeviceOptions::default());
    assert_eq!(device.capabilities(&WHO, Direction::Playback).unwrap().formats, FormatSet::ALL);
    for format in Format::all() {
        let mut sink = device.begin_sink(&WHO, &StreamSpec { format, channels: 2, ..SPEC }).unwrap();
        assert!(matches!(sink.pacing(), Pacing::Caller));
        let frame_bytes = format.frame_bytes(2).unwrap() as usize;
        assert_eq!(sink.write(&vec![0; frame_bytes * 3 + frame_bytes / 2]).unwrap(), 3);
        assert_eq!(sink.queued_frames(), 0);
    }
    let odd = StreamSpec { format: Format::ImaAdpcm, ..SPEC };
    assert!(device.begin_sink(&WHO, &odd).is_err());
}

#[test]
fn null_gives_silence_while_it_runs() {
    let mut source = DeviceSpec::Null.device(&DeviceOptions::default()).begin_source(&WHO, &SPEC).unwrap();
    let mut frames = [1; 5];
    assert_eq!(source.read(&mut frames).unwrap(), 0);
    source.start().unwrap();
    assert_eq!(source.read(&mut frames).unwrap(), 2);
    assert_eq!(frames, [0, 0x80, 0, 0x80, 1]);
    source.pause(true).unwrap();
    assert_eq!(source.available_frames(), 0);
}
