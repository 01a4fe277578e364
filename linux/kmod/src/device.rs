// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! One card's connection: performs the handshake's actions.

use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut};

use driver::{Boxed, Bus, Error, Knob, Pages, PcmStream, Signal, Substream, Text, connect, layout, v0};
use frontend::v0::Hardware;
use frontend::{Action, Actions, Handshake};
use sndif::store::Direction;
use sndif::{Protocol, XenbusState};

use crate::bus::KernelBus;
use crate::ffi::{self, check};
use crate::locks::KernelSignal;
use crate::memory::{KArc, KBox, KVec};
use crate::pages::KernelPages;
use crate::sound::Sound;
use crate::{Kernel, log};

/// Name of a version 2 card whose store has none.
const NAMELESS: &str = "Xen sound";

/// Name of a version 0 card whose store has none, from the driver of 2015, which begins all its names with it.
const NAMELESS_V0: &str = "Virtual card";

/// A device of the bus, from probe to remove. The bus calls for a device one at a time.
struct Device {
    bus: KernelBus,
    handshake: Handshake,
    protocol: Protocol,
    /// Hardware limits with which a stream of version 0 starts.
    hardware: Hardware,
    /// The streams, as long as there is a transport or a card.
    sound: Option<KArc<Sound>>,
    card: Option<NonNull<ffi::SndCard>>,
}

impl Device {
    /// Tells the handshake if applications hold the card, after they have come or gone or time has passed.
    fn update_held(&mut self) {
        let held = self.sound.as_ref().is_some_and(|sound| sound.is_held());
        let actions = self.handshake.held(held);
        let card = self.card.is_some();
        self.perform(actions);
        if card && self.card.is_none() {
            // There was no transport either: the next connection reads the store again.
            self.sound = None;
        }
        self.look();
    }

    /// Tells the handshake the time, now and at the time that it asks for.
    fn look(&mut self) {
        let now_ms = KernelSignal::now_ms();
        let actions = self.handshake.look(now_ms);
        self.perform(actions);
        if let Some(ms) = self.handshake.look_in_ms(now_ms) {
            // SAFETY: the function schedules work of the module's, which keeps no pointer to `self`.
            unsafe { ffi::vsnd_device_look_in(ms) };
        }
    }

    fn backend_is(&mut self, state: XenbusState) {
        self.update_held();
        if self.sound.is_none() && self.handshake.state() == XenbusState::Initialising {
            self.protocol = v0::recognise(&self.bus);
            self.handshake = Handshake::speaking(self.protocol);
        }
        let actions = self.handshake.backend_is(state);
        self.perform(actions);
        self.look();
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
                        // Connected first: an application that sees the card can use it.
                        self.each(Substream::connected);
                        let created = self.create_card();
                        next = Some(self.handshake.card_ready(created));
                    }
                    Action::ResumeCard => {
                        self.each(Substream::connected);
                        next = Some(self.handshake.card_ready(true));
                    }
                    Action::SuspendCard => self.each(Substream::lose),
                    Action::RemoveCard => self.remove_card(),
                    Action::FreeTransport => {
                        self.each(Substream::detach);
                        if self.card.is_none() {
                            self.sound = None;
                        }
                    }
                }
            }
        }
    }

    fn each(&self, act: impl Fn(&Substream<Kernel>)) {
        if let Some(sound) = &self.sound {
            sound.streams.iter().for_each(act);
        }
    }

    // Not inlined, like the functions below: each has texts on the stack, which is small.
    #[inline(never)]
    fn publish(&mut self) -> bool {
        let published = self
            .read_layout()
            .and_then(|sound| connect::publish(&self.bus, &sound.streams, connect::features(&self.bus)));
        match published {
            Err(Error::OtherVersion) => {
                log::problem(&[&"the backend came back with another version of the protocol"]);
            }
            Err(Error::Kept) => log::problem(&[
                &"cannot connect: backends still map ",
                &KernelPages::kept(),
                &" pages that were taken back from them",
            ]),
            Err(error) => log::problem(&[&"cannot connect: error ", &error.number()]),
            Ok(()) => {}
        }
        published.is_ok()
    }

    /// Returns the streams of the existing card; without a card, those that the store has now.
    #[inline(never)]
    fn read_layout(&mut self) -> Result<KArc<Sound>, Error> {
        if let Some(sound) = &self.sound {
            return Ok(sound.clone());
        }
        let streams = match self.protocol {
            Protocol::V2 => self.read_streams()?,
            Protocol::V0 => self.read_v0_stream()?,
        };
        let sound = KArc::new(|| Sound::new(streams))?;
        self.sound = Some(sound.clone());
        Ok(sound)
    }

    #[inline(never)]
    fn read_v0_stream(&self) -> Result<KVec<Substream<Kernel>>, Error> {
        let mut streams = KVec::with_capacity(1)?;
        streams.push(Substream::V0(v0::stream(&self.bus, self.hardware)?))?;
        Ok(streams)
    }

    #[inline(never)]
    fn read_streams(&self) -> Result<KVec<Substream<Kernel>>, Error> {
        let mut streams = KVec::with_capacity(layout::streams_max(&self.bus))?;
        let mut failed = Ok(());
        let read = layout::streams(&self.bus, &mut |info| {
            let added = PcmStream::new(info).and_then(|stream| streams.push(Substream::V2(stream)));
            if added.is_err() {
                failed = added;
            }
        });
        if let Err(bad) = read {
            log::problem(&[&bad.path, &"/", &bad.node]);
            return Err(Error::Invalid);
        }
        failed.map(|()| streams)
    }

    #[inline(never)]
    fn create_card(&mut self) -> bool {
        let created = self.try_create_card();
        if let Err(error) = created {
            log::problem(&[&"cannot make a card: error ", &error.number()]);
            self.remove_card();
        }
        created.is_ok()
    }

    fn try_create_card(&mut self) -> Result<(), Error> {
        let sound = self.sound.clone().ok_or(Error::Lost)?;
        let mut card = null_mut();
        self.new_card(&sound, &mut card)?;
        self.card = NonNull::new(card);
        let mut last = None;
        for pcm in sound.streams.iter().map(Substream::pcm) {
            if last.replace(pcm) != Some(pcm) {
                self.add_pcm(card, &sound, pcm)?;
            }
        }
        self.add_controls(card, &sound)?;
        if self.protocol == Protocol::V0 {
            // SAFETY: `vsnd_card_new` made the card, which lives until `remove_card`.
            check(unsafe { ffi::vsnd_card_add_limits(card) })?;
        }
        // SAFETY: `vsnd_card_new` made the card, which lives until `remove_card`; it is registered once.
        check(unsafe { ffi::vsnd_card_register(card) })
    }

    #[inline(never)]
    fn new_card(&self, sound: &KArc<Sound>, card: &mut *mut ffi::SndCard) -> Result<(), Error> {
        let names = layout::names(&self.bus);
        let numbered = Text::of(&[&NAMELESS_V0, &" ", &self.bus.number().saturating_add(1)]);
        let (driver, mixer, nameless) = match self.protocol {
            Protocol::V2 => ("vsnd", "", NAMELESS),
            Protocol::V0 => (NAMELESS_V0, "Virtual card Mixer", NAMELESS_V0),
        };
        let short = if names.short.is_empty() { nameless } else { names.short.as_str() };
        let long = match self.protocol {
            _ if !names.long.is_empty() => names.long.as_str(),
            Protocol::V0 if names.short.is_empty() => numbered.as_str(),
            _ => short,
        };
        let names = ffi::Names {
            driver: driver.as_ptr(),
            driver_length: driver.len(),
            short: short.as_ptr(),
            short_length: short.len(),
            long: long.as_ptr(),
            long_length: long.len(),
            mixer: mixer.as_ptr(),
            mixer_length: mixer.len(),
        };
        let reference = sound.clone().into_raw();
        // SAFETY: the device lives; the texts have the given lengths; the reference is the card's now.
        check(unsafe { ffi::vsnd_card_new(self.bus.device(), reference.cast(), &names, card) })
    }

    /// Adds volume and switch of every stream, as far as the backend has them, counted within their direction.
    fn add_controls(&self, card: *mut ffi::SndCard, sound: &KArc<Sound>) -> Result<(), Error> {
        for direction in [Direction::Playback, Direction::Capture] {
            let streams = sound.streams.iter().filter(|stream| stream.serves(direction));
            for (index, stream) in (0..).zip(streams) {
                for switch in [false, true] {
                    add_control(card, stream, Knob { direction, switch }, index)?;
                }
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn add_pcm(&self, card: *mut ffi::SndCard, sound: &KArc<Sound>, pcm: u8) -> Result<(), Error> {
        let mut name = layout::pcm_name(&self.bus, pcm);
        if name.is_empty() {
            name = match self.protocol {
                Protocol::V2 => Text::of(&[&"PCM ", &pcm]),
                Protocol::V0 => Text::name(b"Virtual card PCM"),
            };
        }
        let [playback, capture] =
            [Direction::Playback, Direction::Capture].map(|direction| Substream::count(&sound.streams, pcm, direction));
        let half_duplex = sound.streams.iter().any(Substream::is_half_duplex);
        let text = name.bytes();
        let sound = core::ptr::from_ref::<Sound>(sound);
        // SAFETY: the card has its own reference to the sound; the text has the given length.
        check(unsafe {
            ffi::vsnd_card_add_pcm(
                card,
                sound.cast(),
                pcm.into(),
                text.as_ptr(),
                text.len(),
                playback,
                capture,
                half_duplex,
            )
        })
    }

    fn remove_card(&mut self) {
        // The streams go first, so that threads that wait for the backend within ALSA's locks stop waiting.
        self.each(Substream::remove);
        if let Some(card) = self.card.take() {
            // SAFETY: `vsnd_card_new` made the card, and this is the last use of it: `take` has forgotten it. None of
            // our locks is held, which threads that close the card could need.
            unsafe { ffi::vsnd_card_free(card.as_ptr()) };
        }
    }
}

/// Removal of a device, detached or not: takes its card away, which wakes the threads that wait within ALSA's locks,
/// and then frees its transport.
impl Drop for Device {
    fn drop(&mut self) {
        let actions = self.handshake.detach();
        self.perform(actions);
        let actions = self.handshake.give_up();
        self.perform(actions);
    }
}

/// Adds the control `knob`, where the backend has it, as number `index` of its name.
#[inline(never)]
fn add_control(card: *mut ffi::SndCard, stream: &Substream<Kernel>, knob: Knob, index: u32) -> Result<(), Error> {
    let Some(control) = stream.control(knob) else { return Ok(()) };
    let name = control.name;
    let control = ffi::ControlC {
        stream: core::ptr::from_ref(stream).cast(),
        capture: knob.direction == Direction::Capture,
        is_switch: knob.switch,
        min_is_silence: control.min_is_silence,
        index,
        channels: control.channels,
        min: control.min,
        max: control.max,
        min_millibel: control.min_millibel,
        step_millibel: control.step_millibel,
    };
    // SAFETY: the card lives, and has a reference to the sound that the stream belongs to.
    check(unsafe { ffi::vsnd_card_add_control(card, &control, name.as_ptr(), name.len()) })
}

// `main.c` has one `Device` for each device of the bus, from probe to remove. It calls for it with the lock of the
// fronts held, or when no other thread can find it any more. So the entries take the only reference.

/// # Safety
/// `dev` lives until [`vsnd_device_free`]; `model` is the start of `length` bytes, which nobody writes during the call.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_device_new(
    dev: *mut ffi::XenbusDevice,
    model: *const u8,
    length: usize,
    device: &mut MaybeUninit<*mut Device>,
) -> c_int {
    let new = || {
        // SAFETY: `length` bytes start there, of the module's parameter or of an empty text, and the caller guarantees
        // that nobody writes them meanwhile.
        let model = Text::name(unsafe { core::slice::from_raw_parts(model, length) });
        let Some(hardware) = Hardware::of_model(Some(model.as_str())) else {
            log::problem(&[&"there is no model \"", &model, &"\": give ac97, or none"]);
            return Err(Error::Invalid);
        };
        // SAFETY: `dev` lives longer than the `Device` that the bus is part of, which `vsnd_device_free` frees; and the
        // bus calls for a device one at a time.
        let bus = unsafe { KernelBus::new(dev) }.ok_or(Error::Invalid)?;
        let (handshake, protocol) = (Handshake::new(), Protocol::V2);
        KBox::new(|| Device { bus, handshake, protocol, hardware, sound: None, card: None })
    };
    ffi::status(new().map(|new| {
        device.write(KBox::into_raw(new));
    }))
}

#[unsafe(no_mangle)]
extern "C" fn vsnd_device_backend_is(device: &mut Device, state: c_int) {
    let state = u8::try_from(state).map_or(XenbusState::Unknown, XenbusState::from_number);
    device.backend_is(state);
}

#[unsafe(no_mangle)]
extern "C" fn vsnd_device_let_go(device: &mut Device) {
    device.update_held();
}

#[unsafe(no_mangle)]
extern "C" fn vsnd_device_detach(device: &mut Device) -> bool {
    let actions = device.handshake.detach();
    device.perform(actions);
    !device.handshake.is_closed()
}

/// # Safety
/// `device` is what [`vsnd_device_new`] made, and is not used any more.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_device_free(device: *mut Device) {
    // SAFETY: the pointer came from `KBox::into_raw` in `vsnd_device_new`, and the caller guarantees that this is its
    // last use.
    drop(unsafe { KBox::from_raw(device) });
}
