// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! One card's connection: performs what the handshake says.

use core::ffi::c_int;
use core::ptr::{NonNull, null_mut};

use driver::{Boxed, Bus, Error, PcmStream, Text, connect, layout};
use frontend::{Action, Actions, Handshake};
use sndif::XenbusState;
use sndif::store::Direction;

use crate::bus::KernelBus;
use crate::ffi::{self, check};
use crate::memory::{KArc, KBox, KVec};
use crate::sound::Sound;
use crate::{Kernel, log};

/// Shown for a card without a name.
const NAMELESS: &str = "Xen sound";

/// A device of the bus, from probe to remove. The bus calls for it one at a time.
struct Device {
    bus: KernelBus,
    handshake: Handshake,
    /// The streams, as long as there is a transport or a card.
    sound: Option<KArc<Sound>>,
    card: Option<NonNull<ffi::SndCard>>,
}

impl Device {
    fn update_held(&mut self) {
        let held = self.sound.as_ref().is_some_and(|sound| sound.is_held());
        let actions = self.handshake.held(held);
        let card = self.card.is_some();
        self.perform(actions);
        if card && self.card.is_none() {
            // It had no transport either: the next connection reads the store anew.
            self.sound = None;
        }
    }

    fn backend_is(&mut self, state: XenbusState) {
        self.update_held();
        let actions = self.handshake.backend_is(state);
        self.perform(actions);
    }

    fn perform(&mut self, actions: Actions) {
        let mut next = Some(actions);
        while let Some(actions) = next.take() {
            for action in actions {
                match action {
                    Action::PublishTransport => {
                        let published = self.publish();
                        next = Some(self.handshake.published(published));
                    }
                    Action::SetState(state) => self.bus.set_state(state),
                    Action::CreateCard => {
                        let created = self.create_card();
                        self.each(PcmStream::connected);
                        next = Some(self.handshake.card_ready(created));
                    }
                    Action::ResumeCard => {
                        self.each(PcmStream::connected);
                        next = Some(self.handshake.card_ready(true));
                    }
                    Action::SuspendCard => self.each(PcmStream::lose),
                    Action::RemoveCard => self.remove_card(),
                    Action::FreeTransport => {
                        self.each(PcmStream::detach);
                        if self.card.is_none() {
                            self.sound = None;
                        }
                    }
                }
            }
        }
    }

    fn each(&self, act: impl Fn(&PcmStream<Kernel>)) {
        if let Some(sound) = &self.sound {
            sound.streams.iter().for_each(act);
        }
    }

    // Like those below not inlined: each has texts on the stack, which is small.
    #[inline(never)]
    fn publish(&mut self) -> bool {
        let published = self
            .read_layout()
            .and_then(|sound| connect::publish(&self.bus, &sound.streams, connect::features(&self.bus)));
        if let Err(error) = published {
            log::problem(format_args!("cannot connect: error {}", error.number()));
        }
        published.is_ok()
    }

    /// The streams of the card that is there; or, without one, those that the store has now.
    #[inline(never)]
    fn read_layout(&mut self) -> Result<KArc<Sound>, Error> {
        if let Some(sound) = &self.sound {
            return Ok(sound.clone());
        }
        let mut streams = KVec::with_capacity(layout::streams_max(&self.bus))?;
        let mut failed = Ok(());
        let read = layout::streams(&self.bus, &mut |info| {
            let added = PcmStream::new(info).and_then(|stream| streams.push(stream));
            if added.is_err() {
                failed = added;
            }
        });
        if let Err(bad) = read {
            log::problem(format_args!("{}/{}", bad.path.as_str(), bad.node));
            return Err(Error::Invalid);
        }
        failed?;
        let sound = KArc::new(|| Sound::new(streams))?;
        self.sound = Some(sound.clone());
        Ok(sound)
    }

    #[inline(never)]
    fn create_card(&mut self) -> bool {
        let created = self.try_create_card();
        if let Err(error) = created {
            log::problem(format_args!("cannot make a card: error {}", error.number()));
            self.remove_card();
        }
        created.is_ok()
    }

    fn try_create_card(&mut self) -> Result<(), Error> {
        let sound = self.sound.clone().ok_or(Error::Lost)?;
        let names = layout::names(&self.bus);
        let short = if names.short.is_empty() { NAMELESS } else { names.short.as_str() };
        let long = if names.long.is_empty() { short } else { names.long.as_str() };
        let mut card = null_mut();
        let reference = sound.clone().into_raw();
        // SAFETY: the device lives; the texts have the lengths that are given; the reference is the card's now.
        check(unsafe {
            ffi::vsnd_card_new(
                self.bus.device(),
                reference.cast(),
                short.as_ptr(),
                short.len(),
                long.as_ptr(),
                long.len(),
                &mut card,
            )
        })?;
        self.card = NonNull::new(card);
        let mut last = None;
        for pcm in sound.streams.iter().map(|stream| stream.info().pcm) {
            if last.replace(pcm) != Some(pcm) {
                self.add_pcm(card, &sound, pcm)?;
            }
        }
        self.add_controls(card, &sound)?;
        // SAFETY: made above.
        check(unsafe { ffi::vsnd_card_register(card) })
    }

    /// Volume and switch of every stream, as far as the backend has them, counted within their direction.
    #[inline(never)]
    fn add_controls(&self, card: *mut ffi::SndCard, sound: &KArc<Sound>) -> Result<(), Error> {
        let (mut playback, mut capture) = (0_u32, 0_u32);
        for stream in sound.streams.iter() {
            let captures = stream.info().direction == Direction::Capture;
            let count = if captures { &mut capture } else { &mut playback };
            let index = core::mem::replace(count, count.saturating_add(1));
            let features = stream.mixer_features();
            for (switch, announced) in [(false, features.volume), (true, features.mute)] {
                if !announced {
                    continue;
                }
                let channels = stream.info().limits.channels.max;
                let stream = core::ptr::from_ref(stream).cast();
                // SAFETY: the card lives, and has a reference to the sound that the stream belongs to.
                check(unsafe { ffi::vsnd_card_add_control(card, stream, switch, captures, index, channels) })?;
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn add_pcm(&self, card: *mut ffi::SndCard, sound: &KArc<Sound>, pcm: u8) -> Result<(), Error> {
        let mut name = layout::pcm_name(&self.bus, pcm);
        if name.is_empty() {
            name = Text::format(format_args!("PCM {pcm}"));
        }
        let (playback, capture) = layout::count(sound.streams.iter().map(PcmStream::info), pcm);
        let text = name.octets();
        let sound = core::ptr::from_ref::<Sound>(sound);
        // SAFETY: the card has its own reference to the sound; the text has the length that is given.
        check(unsafe {
            ffi::vsnd_card_add_pcm(card, sound.cast(), pcm.into(), text.as_ptr(), text.len(), playback, capture)
        })
    }

    fn remove_card(&mut self) {
        // First, so that whoever waits for the backend within ALSA's locks stops waiting.
        self.each(PcmStream::lose);
        if let Some(card) = self.card.take() {
            // SAFETY: made by us, and the last use.
            unsafe { ffi::vsnd_card_free(card.as_ptr()) };
        }
    }
}

/// # Safety
/// `dev` lives until [`vsnd_device_free`].
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_device_new(dev: *mut ffi::XenbusDevice) -> *mut Device {
    // SAFETY: the contract.
    let Some(bus) = (unsafe { KernelBus::new(dev) }) else { return null_mut() };
    let device = KBox::new(|| Device { bus, handshake: Handshake::new(), sound: None, card: None });
    device.map_or(null_mut(), KBox::into_raw)
}

/// # Safety
/// `device` lives, and nobody else has it at the same time.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_device_backend_is(device: *mut Device, state: c_int) {
    let state = u8::try_from(state).map_or(XenbusState::Unknown, XenbusState::from_number);
    // SAFETY: the contract.
    unsafe { &mut *device }.backend_is(state);
}

/// # Safety
/// As [`vsnd_device_backend_is`].
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_device_let_go(device: *mut Device) {
    // SAFETY: the contract.
    unsafe { &mut *device }.update_held();
}

/// # Safety
/// As [`vsnd_device_backend_is`].
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_device_detach(device: *mut Device) -> bool {
    // SAFETY: the contract.
    let device = unsafe { &mut *device };
    let actions = device.handshake.detach();
    device.perform(actions);
    !device.handshake.is_closed()
}

/// # Safety
/// As [`vsnd_device_backend_is`]; the last use.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_device_free(device: *mut Device) {
    // SAFETY: the contract.
    let Some(mut device) = (unsafe { KBox::from_raw(device) }) else { return };
    let actions = device.handshake.give_up();
    device.perform(actions);
}
