//! A guest like ALSA: it believes the position that was told last, writes between there and a ring further, and takes
//! back frames that it believes unplayed.

use backend::Frames;
use sndif::SharedMemory;
use sndif::v2::{Operation, Span};

use crate::host::Host;
use sndif::test_utils::Pages;

pub struct Guest {
    memory: Pages,
    /// Contents of the ring as the guest wrote them.
    pub ring: Vec<u8>,
    /// Position at which it writes next.
    pub writes_at: u64,
    /// Position up to which the host has to have frames.
    pub written: u64,
    next: u8,
}

impl Guest {
    pub fn new(memory: Pages) -> Self {
        let ring = vec![0; memory.len()];
        Self { memory, ring, writes_at: 0, written: 0, next: 1 }
    }

    /// Returns the position that the guest takes for played: the told one, or the taken one when it is told nothing.
    /// The frame past the end that it is told of a dry stream gives no room to write.
    fn known(host: &Host<Pages>) -> u64 {
        let told = host.core.geometry().is_some_and(|geometry| geometry.period_bytes > 0);
        if told { host.told.min(host.taken) } else { host.taken }
    }

    /// Returns the bytes that the guest believes it can write.
    pub fn room(&self, host: &Host<Pages>) -> u64 {
        (Self::known(host) + self.ring.len() as u64).saturating_sub(self.writes_at)
    }

    /// Writes new sound, at most `bytes`, in one WRITE or two where the ring wraps.
    pub fn write(&mut self, host: &mut Host<Pages>, bytes: u64) {
        // There is nothing to write where the host is known to have been already.
        self.writes_at = self.writes_at.max(Self::known(host));
        let mut left = bytes.min(self.room(host));
        while left > 0 {
            let ring = self.ring.len() as u64;
            let offset = self.writes_at % ring;
            let length = left.min(ring - offset);
            let sound: Vec<u8> = (0..length)
                .map(|_| {
                    self.next = if self.next == 251 { 1 } else { self.next + 1 };
                    self.next
                })
                .collect();
            assert!(self.memory.write(offset as usize, &sound));
            self.ring[offset as usize..(offset + length) as usize].copy_from_slice(&sound);
            let span = Span { offset: offset as u32, length: length as u32 };
            host.request(Operation::Write(span), |_| unreachable!("no OPEN")).expect("a legal WRITE");
            // The guest may use the range for something else now.
            assert!(self.memory.write(offset as usize, &vec![0xEE; length as usize]));
            self.writes_at += length;
            self.written = self.writes_at.max(host.taken);
            left -= length;
        }
    }

    /// Takes back frames that the guest believes unplayed, at most `bytes`, and never the whole ring: a WRITE at the
    /// frontier of a full ring cannot be told from one that appends.
    pub fn rewind(&mut self, host: &Host<Pages>, bytes: u64) {
        let whole_ring_back = (self.written + host.frame_bytes).saturating_sub(self.ring.len() as u64);
        let most = self.writes_at.saturating_sub(Self::known(host).max(whole_ring_back));
        self.writes_at -= bytes.min(most);
    }

    /// Goes on without writing: the old contents are played.
    pub fn skip(&mut self, host: &Host<Pages>, bytes: u64) {
        self.writes_at += bytes.min(self.room(host));
    }

    /// Ends a run: the next one begins at the start of the ring.
    pub fn stopped(&mut self, host: &Host<Pages>) {
        self.writes_at = host.taken;
        self.written = host.taken;
    }

    /// Compares the frames that the host took with those that were written: the last of them is at position `end`.
    pub fn check(&self, played: &[u8], end: u64) {
        assert!(end <= self.written, "taken up to {end}, written up to {}", self.written);
        let start = end - played.len() as u64;
        for (position, &byte) in (start..).zip(played) {
            assert_eq!(byte, self.ring[(position % self.ring.len() as u64) as usize], "at position {position}");
        }
    }
}
