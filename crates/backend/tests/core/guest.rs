//! A guest as ALSA makes it: it believes in the position told last, writes between there and a ring
//! further, and takes back what it believes unplayed.

use backend::Frames;
use sndif::SharedMemory;
use sndif::v2::{Operation, Span};

use crate::host::Host;
use sndif::test_utils::Pages;

pub struct Guest {
    memory: Pages,
    /// The ring as the guest wrote it.
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

    /// What the guest takes for played: what it was told, or what was taken when it is told nothing. The one
    /// frame past the end that it is told of a dry stream is no room to write to.
    fn known(host: &Host<Pages>) -> u64 {
        let told = host.core.geometry().is_some_and(|geometry| geometry.period_bytes > 0);
        if told { host.told.min(host.taken) } else { host.taken }
    }

    /// Bytes that it believes it can write.
    pub fn room(&self, host: &Host<Pages>) -> u64 {
        (Self::known(host) + self.ring.len() as u64).saturating_sub(self.writes_at)
    }

    /// Writes new sound, at most `bytes`, in one WRITE or two where the ring wraps.
    pub fn write(&mut self, host: &mut Host<Pages>, bytes: u64) {
        // Where the host is known to have been already there is nothing to write.
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

    /// Takes back what it believes unplayed, at most `bytes`, and never the whole ring at once: a WRITE
    /// at the frontier of a full ring cannot be told from one that appends.
    pub fn rewind(&mut self, host: &Host<Pages>, bytes: u64) {
        let whole_ring_back = (self.written + host.frame_bytes).saturating_sub(self.ring.len() as u64);
        let most = self.writes_at.saturating_sub(Self::known(host).max(whole_ring_back));
        self.writes_at -= bytes.min(most);
    }

    /// Goes on without writing: what lies there from before is played.
    pub fn skip(&mut self, host: &Host<Pages>, bytes: u64) {
        self.writes_at += bytes.min(self.room(host));
    }

    /// A run ended: the next begins at the start of the ring.
    pub fn stopped(&mut self, host: &Host<Pages>) {
        self.writes_at = host.taken;
        self.written = host.taken;
    }

    /// Holds what the host took against what was written: the last of it is at position `end`.
    pub fn check(&self, played: &[u8], end: u64) {
        assert!(end <= self.written, "taken up to {end}, written up to {}", self.written);
        let start = end - played.len() as u64;
        for (position, &byte) in (start..).zip(played) {
            assert_eq!(byte, self.ring[(position % self.ring.len() as u64) as usize], "at position {position}");
        }
    }
}
