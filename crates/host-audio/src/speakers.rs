//! Order of channels: the wire has ALSA's usual one; a WAV file has the order of its mask's bits, and some ALSA devices
//! have one of their own.
//!
//! Sources: Microsoft's "Multiple channel audio data and WAVE files" (the mask), ALSA's `snd_pcm_std_chmaps` (the
//! wire), and for five channels what PulseAudio makes of an ALSA device; the Vorbis I specification, section 4.3.9. A
//! speaker is its bit of the mask.

pub(crate) const FL: u32 = 0x1;
pub(crate) const FR: u32 = 0x2;
pub(crate) const FC: u32 = 0x4;
pub(crate) const LFE: u32 = 0x8;
pub(crate) const BL: u32 = 0x10;
pub(crate) const BR: u32 = 0x20;
const BC: u32 = 0x100;
pub(crate) const SL: u32 = 0x200;
pub(crate) const SR: u32 = 0x400;

/// The speakers of a frame on the wire; none where the places of the channels are unknown.
#[must_use]
pub fn on_the_wire(channels: u8) -> &'static [u32] {
    const ALSA: [u32; 8] = [FL, FR, BL, BR, FC, LFE, SL, SR];
    match channels {
        1 => &[FC],
        2 | 4 | 5 | 6 | 8 => &ALSA[..channels as usize],
        _ => &[],
    }
}

/// `dwChannelMask` of a file with so many channels; 0: not assigned to speakers.
pub(crate) fn mask(channels: u8) -> u32 {
    on_the_wire(channels).iter().sum()
}

/// The speaker that stands in for another: sides and backs are the same speakers where there is only one such pair.
fn other_name(speaker: u32) -> u32 {
    match speaker {
        BL => SL,
        BR => SR,
        SL => BL,
        SR => BR,
        other => other,
    }
}

/// Positions of the wire's channels in a frame elsewhere: in a file, or on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order(Vec<usize>);

impl Order {
    /// The order of a file with this mask; 0 means the usual one.
    pub fn of(channels: u8, file_mask: u32) -> Self {
        let file_mask = if file_mask == 0 { mask(channels) } else { file_mask };
        Self::among(channels, (0..32).map(|bit| 1 << bit).filter(|bit| file_mask & bit != 0).map(Some).collect())
    }

    /// The order of an Ogg Vorbis file. Where the wire has no order for so many channels, they come in that of a WAV
    /// file.
    #[must_use]
    pub fn of_vorbis(channels: u8) -> Self {
        let vorbis: &[u32] = match channels {
            3 => &[FL, FC, FR],
            5 => &[FL, FC, FR, BL, BR],
            6 => &[FL, FC, FR, BL, BR, LFE],
            7 => &[FL, FC, FR, SL, SR, BC, LFE],
            8 => &[FL, FC, FR, SL, SR, BL, BR, LFE],
            _ => on_the_wire(channels),
        };
        if on_the_wire(channels).is_empty() && !vorbis.is_empty() {
            let mut places: Vec<usize> = (0..vorbis.len()).collect();
            places.sort_by_key(|&at| vorbis[at]);
            return Self(places);
        }
        Self::among(channels, vorbis.iter().copied().map(Some).collect())
    }

    /// The order of a place where the channels belong to these speakers, in this order.
    pub(crate) fn among(channels: u8, mut elsewhere: Vec<Option<u32>>) -> Self {
        let count = usize::from(channels);
        // Channels without a speaker belong nowhere.
        elsewhere.resize(count, None);
        let wire = on_the_wire(channels);
        let mut places: Vec<Option<usize>> = vec![None; count];
        for names in [|speaker| speaker, other_name] {
            for (place, speaker) in places.iter_mut().zip(wire).filter(|(place, _)| place.is_none()) {
                *place = elsewhere.iter().position(|at| *at == Some(names(*speaker)));
                if let Some(at) = *place {
                    elsewhere[at] = None;
                }
            }
        }
        // Channels that belong to no speaker of the wire fill the remaining places, in order.
        let taken: Vec<usize> = places.iter().flatten().copied().collect();
        let mut left = (0..count).filter(|at| !taken.contains(at));
        Self(places.into_iter().map(|place| place.or_else(|| left.next()).unwrap_or_default()).collect())
    }

    pub(crate) fn is_identity(&self) -> bool {
        self.0.iter().enumerate().all(|(wire, &file)| wire == file)
    }

    /// Converts whole frames from the other order to the wire's, in place.
    pub fn order_in(&self, frames: &mut [u8], sample_bytes: usize) {
        self.reorder(frames, sample_bytes, |order, from, to| {
            for (wire, &file) in order.iter().enumerate() {
                copy_sample(from, file, to, wire, sample_bytes);
            }
        });
    }

    /// Converts whole frames from the wire's order to the other, in place.
    pub fn order_out(&self, frames: &mut [u8], sample_bytes: usize) {
        self.reorder(frames, sample_bytes, |order, from, to| {
            for (wire, &file) in order.iter().enumerate() {
                copy_sample(from, wire, to, file, sample_bytes);
            }
        });
    }

    fn reorder(&self, frames: &mut [u8], sample_bytes: usize, copy: impl Fn(&[usize], &[u8], &mut [u8])) {
        if self.is_identity() {
            return;
        }
        let mut before = vec![0; self.0.len() * sample_bytes];
        for frame in frames.chunks_exact_mut(before.len()) {
            before.copy_from_slice(frame);
            copy(&self.0, &before, frame);
        }
    }
}

/// Share of each channel of a frame of `from` channels in each channel of a frame of `to` channels, both in the order
/// of the wire: one row per channel of the latter.
///
/// A missing speaker is heard from its neighbours, 3 dB lower; the LFE's channel, which only repeats, is left out. If a
/// sum could be too loud, all shares are turned down: the balance stays.
#[must_use]
pub fn mix(from: u8, to: u8) -> Vec<Vec<f64>> {
    let (before, after) = (on_the_wire(from), on_the_wire(to));
    let mut rows = vec![vec![0.0; usize::from(from)]; usize::from(to)];
    for channel in 0..usize::from(from) {
        let heard_from = match before.get(channel) {
            // One channel is heard in the middle of the front pair, at its own level.
            _ if from == 1 => (0..rows.len().min(2)).map(|place| (place, 1.0)).collect(),
            Some(&speaker) if from != to && !after.is_empty() => neighbours(speaker, after),
            _ => vec![(channel % rows.len().max(1), 1.0)],
        };
        for (place, share) in heard_from {
            rows[place][channel] += share;
        }
    }
    let loudest = rows.iter().map(|row| row.iter().sum::<f64>()).fold(1.0, f64::max);
    rows.iter_mut().flatten().for_each(|share| *share /= loudest);
    rows
}

/// The places among `speakers` that a speaker is heard from, and its share in each.
fn neighbours(speaker: u32, speakers: &[u32]) -> Vec<(usize, f64)> {
    let places = |wanted: &[u32], share: f64| -> Vec<(usize, f64)> {
        (0..speakers.len()).filter(|&place| wanted.contains(&speakers[place])).map(|place| (place, share)).collect()
    };
    let itself = [&[speaker][..], &[other_name(speaker)]].map(|names| places(names, 1.0));
    if let Some(found) = itself.into_iter().find(|found| !found.is_empty()) {
        return found;
    }
    let quieter = std::f64::consts::FRAC_1_SQRT_2;
    match speaker {
        _ if speakers == [FC] => places(&[FC], if speaker == LFE { 0.0 } else { 0.5 }),
        FL | BL | SL => places(&[FL], quieter),
        FR | BR | SR => places(&[FR], quieter),
        FC => places(&[FL, FR], quieter),
        _ => Vec::new(),
    }
}

fn copy_sample(from: &[u8], from_index: usize, to: &mut [u8], to_index: usize, bytes: usize) {
    to[to_index * bytes..][..bytes].copy_from_slice(&from[from_index * bytes..][..bytes]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame on the wire, made of a file's frame in which each byte holds its own position.
    fn wire(channels: u8, mask: u32) -> Vec<u8> {
        let mut frame: Vec<u8> = (0..channels).collect();
        Order::of(channels, mask).order_in(&mut frame, 1);
        frame
    }

    #[test]
    fn five_and_seven_point_one_come_in_alsas_order() {
        // The file: front pair, centre, LFE, back pair, side pair.
        assert_eq!(wire(6, 0x3f), [0, 1, 4, 5, 2, 3]);
        assert_eq!(wire(8, 0x63f), [0, 1, 4, 5, 2, 3, 6, 7]);
        assert_eq!(wire(5, 0x37), [0, 1, 3, 4, 2]);
        for channels in [1, 2, 4] {
            assert_eq!(wire(channels, mask(channels)), (0..channels).collect::<Vec<_>>());
        }
    }

    #[test]
    fn unusual_masks_lose_no_channel() {
        // The side pair in place of the back pair, as films have it.
        assert_eq!(wire(6, 0x60f), [0, 1, 4, 5, 2, 3]);
        // Front pair, centre, back centre: the latter two have no place of their own.
        assert_eq!(wire(4, 0x107), [0, 1, 2, 3]);
        // No mask, too small a mask, masks of all kinds.
        assert_eq!(wire(6, 0), wire(6, 0x3f));
        assert_eq!(wire(6, 0x3), [0, 1, 2, 3, 4, 5]);
        for channels in 1..=12 {
            for mask in [0, 1, 0x3f, 0xff, 0x63f, 0x2_d63f, u32::MAX] {
                let mut all = wire(channels, mask);
                all.sort_unstable();
                assert_eq!(all, (0..channels).collect::<Vec<_>>(), "{channels} channels, mask {mask:#x}");
            }
        }
    }

    #[test]
    fn vorbis_has_the_centre_between_the_front_pair() {
        let wire = |channels: u8| {
            let mut frame: Vec<u8> = (0..channels).collect();
            Order::of_vorbis(channels).order_in(&mut frame, 1);
            frame
        };
        assert_eq!(wire(3), [0, 2, 1]);
        assert_eq!(wire(5), [0, 2, 3, 4, 1]);
        assert_eq!(wire(6), [0, 2, 3, 4, 1, 5]);
        assert_eq!(wire(7), [0, 2, 1, 6, 5, 3, 4]);
        assert_eq!(wire(8), [0, 2, 5, 6, 1, 7, 3, 4]);
        for channels in [1, 2, 4, 9] {
            assert_eq!(wire(channels), (0..channels).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_mix_keeps_the_balance_and_cannot_be_too_loud() {
        assert_eq!(mix(2, 2), [[1.0, 0.0], [0.0, 1.0]]);
        assert_eq!(mix(1, 2), [[1.0], [1.0]]);
        assert_eq!(mix(2, 1), [[0.5, 0.5]]);
        assert_eq!(mix(2, 6)[..3], [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]);
        // The sides are the backs where there is only one pair, and each stays where it was.
        let from_7_1 = mix(8, 6);
        assert!(from_7_1[2][2] > 0.0 && from_7_1[2][6] > 0.0 && from_7_1[4][4] > 0.0);
        let down = mix(6, 2);
        assert!(down[0][0] > down[0][4] && down[0][4] == down[1][4] && down[0][1] == 0.0 && down[0][5] == 0.0);
        for (from, to) in (1..=12).flat_map(|from| (1..=12).map(move |to| (from, to))) {
            let rows = mix(from, to);
            assert_eq!((rows.len(), rows[0].len()), (usize::from(to), usize::from(from)));
            assert!(rows.iter().all(|row| row.iter().sum::<f64>() < 1.000_001), "{from} to {to}");
            let silent = (0..usize::from(from)).filter(|&channel| rows.iter().all(|row| row[channel] == 0.0));
            assert!(silent.count() <= 1, "{from} to {to}");
        }
    }

    #[test]
    fn there_and_back_is_the_same() {
        for channels in 1..=8 {
            let frames: Vec<u8> = (0..channels * 4).collect();
            let mut there = frames.clone();
            let order = Order::of(channels, mask(channels));
            order.order_out(&mut there, 2);
            order.order_in(&mut there, 2);
            assert_eq!(there, frames);
        }
    }
}
