//! Volume and mute, as encoded in the shared buffer.

use std::ops::RangeInclusive;

use sndif::Errno;

/// Range of volumes, in 0.001 dB; others are clamped to it. −100 dB and below is silence.
pub const VOLUME_RANGE_MDB: RangeInclusive<i32> = -100_000..=20_000;

/// Volume and mute of each channel of an open stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) millidecibels: Vec<i32>,
    pub(crate) muted: Vec<bool>,
}

impl Volume {
    pub(crate) fn new(channels: u8) -> Self {
        Self { millidecibels: vec![0; usize::from(channels)], muted: vec![false; usize::from(channels)] }
    }

    /// Returns the size of the data of SET_VOLUME and GET_VOLUME.
    pub(crate) fn volume_bytes(&self) -> usize {
        self.millidecibels.len().saturating_mul(4)
    }

    /// Takes one i32 per channel.
    pub(crate) fn set(&mut self, bytes: &[u8]) {
        for (volume, bytes) in self.millidecibels.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *volume = i32::from_le_bytes(*bytes).clamp(*VOLUME_RANGE_MDB.start(), *VOLUME_RANGE_MDB.end());
        }
    }

    /// Returns one i32 per channel.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.millidecibels.iter().flat_map(|volume| volume.to_le_bytes()).collect()
    }

    /// Takes one flag per channel and mutes or unmutes the channels whose flag is set. sndif.h describes one byte per
    /// flag but draws four, so the length decides.
    pub(crate) fn set_mute(&mut self, bytes: &[u8], mute: bool) -> Result<(), Errno> {
        let channels = self.muted.len();
        let stride = match bytes.len() {
            length if length == channels => 1,
            length if length == self.volume_bytes() => 4,
            _ => return Err(Errno::EINVAL),
        };
        for (muted, flag) in self.muted.iter_mut().zip(bytes.chunks(stride)) {
            if flag.iter().any(|&byte| byte != 0) {
                *muted = mute;
            }
        }
        Ok(())
    }

    /// Returns true if every channel passes unchanged.
    pub(crate) fn is_neutral(&self) -> bool {
        self.millidecibels.iter().all(|&volume| volume == 0) && self.muted.iter().all(|&muted| !muted)
    }
}
