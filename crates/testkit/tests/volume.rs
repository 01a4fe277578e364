//! Tests that volume and mute apply to the samples that the host plays, channel by channel.

use sndif::v2::{OpenParams, Operation, Span, Trigger};
use sndif::{Errno, PAGE_BYTES, SharedMemory};
use testkit::hostile::{Buffer, HostileGuest};
use testkit::signal::assert_same;
use testkit::{PATIENCE, World, eventually};
use xen::DomainId;

const GUEST: DomainId = DomainId(1);
const STREAM: &str = "1-0-0-0";
const FRAMES: usize = 4096;
/// Offset of volumes and flags, after the frames.
const CONTROL: u32 = 16_384;
/// A half, in 0.001 dB; exactly −6.0206 dB.
const HALF_MDB: i32 = -6021;

/// A stream whose buffer ends with a page for volume and mute.
struct Mixer {
    world: World,
    guest: HostileGuest,
    buffer: Buffer,
}

impl Mixer {
    fn open() -> Self {
        Self::open_with("")
    }

    fn open_with(config: &'static str) -> Self {
        let mut world = World::with_config(|_| config.to_owned());
        world.attach_playback(GUEST);
        world.put(GUEST, 0, "0/0/control-size", b"4096");
        let mut guest = HostileGuest::connected(&mut world, GUEST, 1);
        let buffer = guest.buffer(CONTROL as usize + PAGE_BYTES);
        // Half a second, of which there is something left when a process was late.
        let params = OpenParams { rate_hz: 8_000, period_bytes: 4096, ..buffer.open_params() };
        guest.streams[0].open(params).unwrap();
        Self { world, guest, buffer }
    }

    fn control(&mut self, bytes: &[u8], operation: impl FnOnce(Span) -> Operation) -> Result<(), Errno> {
        assert!(self.buffer.pages.write(CONTROL as usize, bytes));
        let length = u32::try_from(bytes.len()).unwrap();
        self.guest.streams[0].call(operation(Span { offset: CONTROL, length })).map(drop)
    }

    fn set(&mut self, volumes: [i32; 2]) {
        let bytes: Vec<u8> = volumes.into_iter().flat_map(i32::to_le_bytes).collect();
        self.control(&bytes, Operation::SetVolume).unwrap();
    }

    fn get(&mut self) -> [i32; 2] {
        self.control(&[0xAA; 8], Operation::GetVolume).unwrap();
        let mut bytes = [0; 8];
        self.buffer.pages.read(CONTROL as usize, &mut bytes);
        [0, 4].map(|at| i32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()))
    }

    /// Plays frames of `sample` in both channels and returns the samples that the host played in each.
    fn heard(&mut self, sample: i16) -> [Vec<i16>; 2] {
        let sound: Vec<u8> = std::iter::repeat_n(sample.to_le_bytes(), FRAMES * 2).flatten().collect();
        assert!(self.buffer.pages.write(0, &sound));
        self.guest.streams[0].write(0, CONTROL).unwrap();
        self.guest.streams[0].trigger(Trigger::Start).unwrap();
        let played = self.world.played(STREAM, 1, sound.len());
        let channel = |index: usize| {
            played.chunks(4).map(|frame| i16::from_le_bytes([frame[index * 2], frame[index * 2 + 1]])).collect()
        };
        [channel(0), channel(1)]
    }
}

fn assert_about(channel: &[i16], wanted: i16) {
    assert_eq!(channel.len(), FRAMES);
    // A gain may take effect gradually.
    let settled = &channel[FRAMES / 2..];
    let near = |sample: &i16| (i32::from(*sample) - i32::from(wanted)).abs() <= 2;
    assert!(settled.iter().all(near), "{:?}… instead of {wanted}", &settled[..8]);
}

#[test]
fn the_backend_announces_volume_and_mute() {
    let mut mixer = Mixer::open();
    for feature in ["feature-volume", "feature-mute"] {
        let value = mixer.world.store().read(&format!("/local/domain/0/backend/vsnd/1/0/{feature}")).unwrap();
        assert_eq!(value, b"1");
    }
}

#[test]
fn without_a_volume_the_samples_pass_unchanged() {
    let [left, right] = Mixer::open().heard(12_345);
    assert!(left.iter().chain(&right).all(|&sample| sample == 12_345));
}

#[test]
fn six_decibels_down_halve_the_samples_of_that_channel_only() {
    let mut mixer = Mixer::open();
    mixer.set([HALF_MDB, 0]);
    assert_eq!(mixer.get(), [HALF_MDB, 0]);
    let [left, right] = mixer.heard(10_000);
    assert_about(&left, 5000);
    assert_about(&right, 10_000);
}

#[test]
fn the_hosts_ceiling_bounds_what_the_guest_sets() {
    let mut mixer = Mixer::open_with("volume-max-db = -6.021\n");
    mixer.set([12_000, -20_000]);
    assert_eq!(mixer.get(), [12_000, -20_000], "the guest is not told");
    let [left, right] = mixer.heard(10_000);
    assert_about(&left, 5000);
    assert_about(&right, 1000);
    let [left, _] = Mixer::open_with("volume-max-db = -6.021\n").heard(10_000);
    assert_about(&left, 5000);
}

#[test]
fn the_end_of_a_stream_tells_the_peaks_that_the_host_heard() {
    let mut mixer = Mixer::open();
    mixer.set([HALF_MDB, 0]);
    mixer.heard(16_384);
    mixer.guest.streams[0].close().unwrap();
    let told = || mixer.world.log().contains("peaks in dB of full scale: -12.0 -6.0");
    assert!(eventually(PATIENCE, told), "{}", mixer.world.log());
}

#[test]
fn zero_decibels_again_change_nothing() {
    let mut mixer = Mixer::open();
    mixer.set([HALF_MDB, -20_000]);
    mixer.set([0, 0]);
    let [left, right] = mixer.heard(-9999);
    assert_about(&left, -9999);
    assert_about(&right, -9999);
}

#[test]
fn volumes_out_of_range_are_brought_into_it() {
    let mut mixer = Mixer::open();
    mixer.set([i32::MIN, i32::MAX]);
    let [low, high] = mixer.get();
    assert!((-200_000..=-100_000).contains(&low) && (0..=100_000).contains(&high), "{low} {high}");
    let [left, right] = mixer.heard(100);
    assert_about(&left, 0);
    assert!(right[FRAMES - 1] >= 100);
}

#[test]
fn mute_takes_flags_of_one_byte_and_of_four() {
    let one: (&[u8], &[u8]) = (&[1, 0], &[0, 1]);
    let four: (&[u8], &[u8]) = (&[1, 0, 0, 0, 0, 0, 0, 0], &[0, 0, 0, 0, 0, 0, 0, 1]);
    for (left_only, right_only) in [one, four] {
        let mut mixer = Mixer::open();
        mixer.control(left_only, Operation::Mute).unwrap();
        let [left, right] = mixer.heard(10_000);
        assert_about(&left, 0);
        assert_about(&right, 10_000);

        let mut mixer = Mixer::open();
        mixer.control(left_only, Operation::Mute).unwrap();
        mixer.control(right_only, Operation::Mute).unwrap();
        // A channel without a flag stays unchanged.
        mixer.control(left_only, Operation::Unmute).unwrap();
        let [left, right] = mixer.heard(10_000);
        assert_about(&left, 10_000);
        assert_about(&right, 0);
    }
}

#[test]
fn mute_keeps_the_volume() {
    let mut mixer = Mixer::open();
    mixer.set([HALF_MDB, HALF_MDB]);
    mixer.control(&[1, 1], Operation::Mute).unwrap();
    assert_eq!(mixer.get(), [HALF_MDB; 2]);
    mixer.control(&[1, 1], Operation::Unmute).unwrap();
    let [left, right] = mixer.heard(10_000);
    assert_about(&left, 5000);
    assert_about(&right, 5000);
}

#[test]
fn lengths_that_fit_no_stride_are_refused() {
    let mut mixer = Mixer::open();
    for length in [0, 1, 3, 4, 5, 7, 9, 12, 16] {
        let bytes = vec![1; length];
        assert_eq!(mixer.control(&bytes, Operation::Mute), Err(Errno::EINVAL), "MUTE of {length}");
        assert_eq!(mixer.control(&bytes, Operation::Unmute), Err(Errno::EINVAL), "UNMUTE of {length}");
    }
    for length in [0, 1, 2, 4, 7, 9, 12, 16] {
        let bytes = vec![0; length];
        assert_eq!(mixer.control(&bytes, Operation::SetVolume), Err(Errno::EINVAL), "SET_VOLUME of {length}");
        assert_eq!(mixer.control(&bytes, Operation::GetVolume), Err(Errno::EINVAL), "GET_VOLUME of {length}");
    }
    let [left, right] = mixer.heard(77);
    assert!(left.iter().chain(&right).all(|&sample| sample == 77), "nothing was muted");
}

#[test]
fn a_volume_that_changes_while_it_plays_takes_effect() {
    let mut mixer = Mixer::open();
    let sound: Vec<u8> = std::iter::repeat_n(8000_i16.to_le_bytes(), FRAMES * 2).flatten().collect();
    assert!(mixer.buffer.pages.write(0, &sound));
    mixer.guest.streams[0].write(0, CONTROL).unwrap();
    mixer.guest.streams[0].trigger(Trigger::Start).unwrap();
    assert!(eventually(PATIENCE, || mixer.guest.streams[0].events_sent() > 1));
    mixer.set([HALF_MDB, HALF_MDB]);
    let played = mixer.world.played(STREAM, 1, sound.len());
    let samples: Vec<i16> = played.chunks(2).map(|sample| i16::from_le_bytes([sample[0], sample[1]])).collect();
    assert_eq!(samples[0], 8000);
    assert_about(&[vec![4000; FRAMES - 16], samples[samples.len() - 16..].to_vec()].concat(), 4000);
}

#[test]
fn a_buffer_without_a_control_area_carries_volume_in_its_frames() {
    let mut world = World::new();
    world.attach_playback(GUEST);
    let mut guest = HostileGuest::connected(&mut world, GUEST, 1);
    let buffer = guest.buffer(16_384);
    let stream = &mut guest.streams[0];
    stream.open(buffer.open_params()).unwrap();
    buffer.pages.write(100, &[HALF_MDB.to_le_bytes(), 0_i32.to_le_bytes()].concat());
    stream.call(Operation::SetVolume(Span { offset: 100, length: 8 })).unwrap();
    stream.call(Operation::GetVolume(Span { offset: 200, length: 8 })).unwrap();
    let mut bytes = [0; 108];
    buffer.pages.read(100, &mut bytes);
    let (set, got) = (bytes[..8].to_vec(), bytes[100..].to_vec());
    assert_same(&got, &set);
}
