//! beep: a guest that is not Linux.
//!
//! A kernel for Xen's PVH guests, on x86-64 and on arm64, that plays a tone through `vsndd`, records a second, says on its console what it did, and ends.
//! It is here to show what somebody else's system needs beside this project's protocol crates:
//!
//! | | |
//! |---|---|
//! | `sndif`, `frontend`, `xenstore` | the protocols: packets, states, positions, the store's messages |
//! | [`arch`] | from Xen to Rust, and what else depends on the processor |
//! | [`memory`], [`hypercall`] | memory that others may change; what is asked of Xen |
//! | [`events`], [`grants`], [`store`], [`console`] | what every driver for Xen needs |
//! | [`card`] | the store's nodes and the handshake |
//! | [`sound`] | requests, frames and waiting |
//!
//! There are no interrupts, no threads and one processor: who waits sleeps until an event channel is notified.
#![no_std]
#![no_main]

extern crate alloc;

mod arch;
mod card;
mod checksum;
mod console;
mod error;
mod events;
mod grants;
mod hypercall;
mod memory;
mod sound;
mod store;
mod tone;

use core::panic::PanicInfo;

use frontend::Wanted;
use sndif::Format;
use sndif::store::Direction;

use crate::card::Card;
use crate::checksum::Crc32;
use crate::error::Result;
use crate::hypercall::Reason;
use crate::sound::Opened;

/// Frames of the tone, and of the recording.
const FRAMES: u32 = tone::RATE_HZ;

const WANTED: Wanted =
    Wanted { format: Format::S16Le, rate_hz: tone::RATE_HZ, channels: 2, period_frames: 4800, buffer_frames: 19_200 };

/// The program, which [`arch`] starts.
extern "C" fn main() -> ! {
    memory::prepare();
    let reason = match prepare().and_then(|()| run()) {
        Ok(()) => {
            say!("done");
            Reason::PowerOff
        }
        Err(error) => {
            say!("failed: {error}");
            Reason::Crash
        }
    };
    console::flush();
    hypercall::shutdown(reason)
}

fn prepare() -> Result<()> {
    hypercall::prepare()?;
    events::prepare()?;
    grants::prepare()
}

fn run() -> Result<()> {
    say!("a guest without an operating system");
    let mut card = Card::connect()?;
    say!("connected to domain {}: {} streams", card.backend, card.streams.len());
    play(&mut card)?;
    record(&mut card)?;
    let kept = card.disconnect()?;
    say!("disconnected, {kept} pages still mapped");
    Ok(())
}

fn play(card: &mut Card) -> Result<()> {
    let mut stream = Opened::open(card, Direction::Playback, WANTED)?;
    let (mut checksum, mut number) = (Crc32::new(), 0);
    stream.play(FRAMES * stream.geometry().frame_bytes(), |bytes| {
        for frame in bytes.chunks_exact_mut(4) {
            frame.copy_from_slice(tone::frame(number).map(i16::to_le_bytes).as_flattened());
            number += 1;
        }
        checksum.add(bytes);
    })?;
    let xruns = stream.xruns()?;
    let kept = stream.close()?;
    say!("played {number} frames, crc32 {:08x}, {xruns} xruns, {kept} pages still mapped", checksum.value());
    Ok(())
}

fn record(card: &mut Card) -> Result<()> {
    let mut stream = Opened::open(card, Direction::Capture, WANTED)?;
    let (mut checksum, mut bytes) = (Crc32::new(), 0);
    stream.record(FRAMES * stream.geometry().frame_bytes(), |frames| {
        checksum.add(frames);
        bytes += frames.len();
    })?;
    let frames = bytes / stream.geometry().frame_bytes() as usize;
    let xruns = stream.xruns()?;
    let kept = stream.close()?;
    say!("recorded {frames} frames, crc32 {:08x}, {xruns} xruns, {kept} pages still mapped", checksum.value());
    Ok(())
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say!("{info}");
    console::flush();
    hypercall::shutdown(Reason::Crash)
}
