// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The C half's functions, as `vsnd.h` declares them.

use core::ffi::{c_char, c_int, c_void};

macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => { $(
        $(#[$doc])*
        #[repr(C)]
        pub(crate) struct $name {
            _opaque: [u8; 0],
        }
    )* };
}

opaque!(
    /// `struct xenbus_device`
    XenbusDevice,
    /// `struct snd_card`
    SndCard,
    /// `struct snd_info_buffer`
    InfoBuffer,
    /// `struct mutex`
    Mutex,
    /// `struct completion`
    Completion,
    /// `struct vsnd_listener`
    Listener,
    /// `struct vsnd_channel`
    Channel,
);

// `enum vsnd_trigger`
pub(crate) const VSND_START: u32 = 0;
pub(crate) const VSND_PAUSE: u32 = 1;
pub(crate) const VSND_STOP: u32 = 2;
pub(crate) const VSND_RESUME: u32 = 3;
pub(crate) const VSND_DRAIN: u32 = 4;

// `enum vsnd_mutex_class`
pub(crate) const VSND_MUTEX_ASKING: u32 = 0;
pub(crate) const VSND_MUTEX_STATE: u32 = 1;

/// `struct vsnd_pages`; the references follow it.
#[repr(C)]
pub(crate) struct Pages {
    pub(crate) address: *mut c_void,
    pub(crate) count: usize,
    pub(crate) granted: usize,
    pub(crate) refs: [u32; 0],
}

/// `struct vsnd_node`
#[repr(C)]
pub(crate) struct Node {
    pub(crate) backend: bool,
    pub(crate) path: *const u8,
    pub(crate) path_length: usize,
    pub(crate) name: *const u8,
    pub(crate) name_length: usize,
}

/// `struct vsnd_space`
#[repr(C)]
pub(crate) struct SpaceC {
    pub(crate) formats: u64,
    pub(crate) rate: [u32; 2],
    pub(crate) channels: [u32; 2],
    pub(crate) buffer: [u32; 2],
    pub(crate) period: [u32; 2],
}

/// `struct vsnd_hardware`
#[repr(C)]
pub(crate) struct HardwareC {
    pub(crate) space: SpaceC,
    pub(crate) rates: u32,
    pub(crate) buffer_bytes_max: u32,
    pub(crate) period_bytes: [u32; 2],
    pub(crate) periods: [u32; 2],
    pub(crate) pauses: bool,
    pub(crate) batches: bool,
    pub(crate) wakes_always: bool,
}

/// `struct vsnd_names`; each text with its length.
#[repr(C)]
pub(crate) struct Names {
    pub(crate) driver: *const u8,
    pub(crate) driver_length: usize,
    pub(crate) short: *const u8,
    pub(crate) short_length: usize,
    pub(crate) long: *const u8,
    pub(crate) long_length: usize,
    pub(crate) mixer: *const u8,
    pub(crate) mixer_length: usize,
}

/// `struct vsnd_control`
#[repr(C)]
pub(crate) struct ControlC {
    pub(crate) stream: *const c_void,
    pub(crate) capture: bool,
    pub(crate) is_switch: bool,
    pub(crate) min_is_silence: bool,
    pub(crate) index: u32,
    pub(crate) channels: u32,
    pub(crate) min: i32,
    pub(crate) max: i32,
    pub(crate) min_millibel: i32,
    pub(crate) step_millibel: u32,
}

unsafe extern "C" {
    /// Allocates `bytes` bytes, not 0.
    ///
    /// Context: process context; may sleep.
    /// Return: zeroed memory, aligned to 8 bytes, or null.
    pub(crate) fn vsnd_alloc(bytes: usize) -> *mut c_void;
    /// Frees the memory of `vsnd_alloc` or `vsnd_bus_list`.
    ///
    /// Context: any context.
    pub(crate) fn vsnd_free(memory: *mut c_void);
    /// Warns in the kernel's log, limited in rate.
    ///
    /// Context: any context.
    pub(crate) fn vsnd_log(text: *const u8, length: usize);

    /// Creates a mutex of a class of `enum vsnd_mutex_class`.
    ///
    /// Context: process context; may sleep.
    /// Return: the mutex, or null.
    pub(crate) fn vsnd_mutex_new(class: u32) -> *mut Mutex;
    /// Frees a mutex that nobody holds or waits for.
    ///
    /// Context: process context.
    pub(crate) fn vsnd_mutex_free(mutex: *mut Mutex);
    /// Locks a state mutex.
    ///
    /// Context: process context; sleeps. An asking mutex or the PCM stream's mutex may be held.
    pub(crate) fn vsnd_mutex_lock(mutex: *mut Mutex);
    /// Locks an asking mutex.
    ///
    /// Context: process context; sleeps. The PCM stream is not locked, and no state mutex is held.
    /// Return: 0, or a negative error number when the task was killed while it waited.
    pub(crate) fn vsnd_mutex_lock_killable(mutex: *mut Mutex) -> c_int;
    /// Unlocks a mutex that this thread has locked.
    ///
    /// Context: process context.
    pub(crate) fn vsnd_mutex_unlock(mutex: *mut Mutex);

    /// Creates a signal.
    ///
    /// Context: process context; may sleep.
    /// Return: the signal, or null.
    pub(crate) fn vsnd_signal_new() -> *mut Completion;
    /// Frees a signal that nobody waits for or raises.
    ///
    /// Context: any context.
    pub(crate) fn vsnd_signal_free(signal: *mut Completion);
    /// Forgets all raises of a signal.
    ///
    /// Context: with the asking mutex or the PCM stream's mutex held, by the thread that waits next.
    pub(crate) fn vsnd_signal_reset(signal: *mut Completion);
    /// Wakes the thread that waits, or the next one that does.
    ///
    /// Context: any context.
    pub(crate) fn vsnd_signal_raise(signal: *mut Completion);
    /// Waits at most `ms` milliseconds.
    ///
    /// Context: process context, with the asking mutex or the PCM stream's mutex held, and no state mutex; sleeps.
    /// Return: true if the task was killed while it waited.
    pub(crate) fn vsnd_signal_wait(signal: *mut Completion, ms: u32) -> bool;
    /// Reads a monotonic clock, which wraps.
    ///
    /// Context: any context.
    /// Return: milliseconds.
    pub(crate) fn vsnd_now_ms() -> u32;
    /// Reads the same clock, without wrapping.
    ///
    /// Context: any context.
    /// Return: nanoseconds.
    pub(crate) fn vsnd_now_ns() -> u64;

    /// Schedules `vsnd_device_let_go` for every device, after at most `ms` milliseconds.
    ///
    /// Context: any context; called with the lock of the fronts held.
    pub(crate) fn vsnd_device_look_in(ms: u32);

    /// Allocates `count` pages and grants them to a domain.
    ///
    /// Context: process context; may sleep. A state mutex may be held.
    /// Return: zeroed pages, or null.
    pub(crate) fn vsnd_pages_new(domain: u32, count: usize) -> *mut Pages;
    /// Allocates `count` pages that are granted to nobody.
    ///
    /// Context: process context; may sleep.
    /// Return: zeroed pages, or null.
    pub(crate) fn vsnd_pages_ordinary(count: usize) -> *mut Pages;
    /// Ends all grants and grants the same pages again.
    ///
    /// Context: process context, with the stream's state mutex held; may sleep.
    /// Return: 0, or a negative error number; no page is granted then.
    pub(crate) fn vsnd_pages_grant_again(pages: *mut Pages, domain: u32) -> c_int;
    /// Ends all grants and frees the pages; a mapped page is kept until it is unmapped.
    ///
    /// Context: process context; may sleep. A state mutex may be held.
    pub(crate) fn vsnd_pages_free(pages: *mut Pages);
    /// Looks at all kept pages again.
    ///
    /// Context: process context; may sleep. A state mutex may be held.
    /// Return: number of kept pages, of all devices.
    pub(crate) fn vsnd_pages_kept() -> usize;

    /// Creates an event channel of a stream, which outlives it.
    ///
    /// Context: process context, with the lock of the fronts held, and no lock that the channel's handler takes.
    /// Return: the channel, or a negative error number as a pointer.
    pub(crate) fn vsnd_channel_new(
        dev: *mut XenbusDevice,
        stream: *const c_void,
        events: bool,
        port: *mut u32,
    ) -> *mut Channel;
    /// Closes a channel.
    ///
    /// Context: process context; waits for the handler, so no lock that it takes is held.
    pub(crate) fn vsnd_channel_free(channel: *mut Channel);
    /// Sends an event to the backend.
    ///
    /// Context: any context; called with the stream's state mutex held.
    pub(crate) fn vsnd_channel_notify(channel: *mut Channel);

    /// Reads the device's number in the store from its name.
    ///
    /// Context: any context.
    /// Return: the number, or `u32::MAX` for a name that is no number.
    pub(crate) fn vsnd_bus_number(dev: *mut XenbusDevice) -> u32;
    /// Tells the backend's domain.
    ///
    /// Context: any context.
    /// Return: the domain.
    pub(crate) fn vsnd_bus_backend_id(dev: *mut XenbusDevice) -> u32;
    /// Writes the device's state to the store.
    ///
    /// Context: process context, with the lock of the fronts held or from remove; sleeps.
    pub(crate) fn vsnd_bus_set_state(dev: *mut XenbusDevice, state: u32);
    /// Reads a node into the `size` bytes at `value`.
    ///
    /// Context: process context, with the lock of the fronts held; sleeps.
    /// Return: bytes of the value; negative when it is missing or longer than `size`.
    pub(crate) fn vsnd_bus_read(dev: *mut XenbusDevice, node: *const Node, value: *mut u8, size: usize) -> isize;
    /// Lists the entries of a directory, and writes their number to `count`.
    ///
    /// Context: process context, with the lock of the fronts held; sleeps.
    /// Return: terminated names in one allocation, for `vsnd_free`, or null.
    pub(crate) fn vsnd_bus_list(dev: *mut XenbusDevice, node: *const Node, count: *mut u32) -> *mut *mut c_char;
    /// Begins a transaction of the store.
    ///
    /// Context: process context, with the lock of the fronts held; sleeps.
    /// Return: 0, or a negative error number.
    pub(crate) fn vsnd_bus_begin(transaction: *mut u32) -> c_int;
    /// Writes a number to a node.
    ///
    /// Context: process context, with the lock of the fronts held; sleeps.
    /// Return: 0, or a negative error number.
    pub(crate) fn vsnd_bus_write(dev: *mut XenbusDevice, transaction: u32, node: *const Node, value: u32) -> c_int;
    /// Removes a node, which may be missing.
    ///
    /// Context: process context, with the lock of the fronts held; sleeps.
    /// Return: 0, or a negative error number.
    pub(crate) fn vsnd_bus_remove(dev: *mut XenbusDevice, transaction: u32, node: *const Node) -> c_int;
    /// Ends a transaction of the store.
    ///
    /// Context: process context, with the lock of the fronts held; sleeps.
    /// Return: 0, `-EAGAIN` when somebody else wrote meanwhile, or another negative error number.
    pub(crate) fn vsnd_bus_end(transaction: u32, abort: bool) -> c_int;

    /// Creates a listener, with no substream open.
    ///
    /// Context: process context; may sleep.
    /// Return: the listener, or null.
    pub(crate) fn vsnd_listener_new() -> *mut Listener;
    /// Frees a listener that no event channel and no open substream uses.
    ///
    /// Context: process context.
    pub(crate) fn vsnd_listener_free(listener: *mut Listener);
    /// Tells ALSA that a period elapsed.
    ///
    /// Context: process context, with no state mutex held; takes the listener's mutex and the PCM stream's.
    pub(crate) fn vsnd_listener_elapsed(listener: *mut Listener);
    /// Stops an open stream, with or without an xrun.
    ///
    /// Context: process context, with no state mutex held; takes the listener's mutex and the PCM stream's.
    pub(crate) fn vsnd_listener_stop(listener: *mut Listener, xrun: bool);
    /// Notifies ALSA's readers of the volume's control.
    ///
    /// Context: process context, with no state mutex held; takes the listener's mutex.
    pub(crate) fn vsnd_listener_volume_changed(listener: *mut Listener);

    /// Creates ALSA's card of a device, and takes over the reference to `sound`, also on failure.
    ///
    /// Context: process context, with the lock of the fronts held.
    /// Return: 0, or a negative error number.
    pub(crate) fn vsnd_card_new(
        dev: *mut XenbusDevice,
        sound: *const c_void,
        names: *const Names,
        card: *mut *mut SndCard,
    ) -> c_int;
    /// Adds a PCM device to a card.
    ///
    /// Context: process context, with the lock of the fronts held.
    /// Return: 0, or a negative error number.
    pub(crate) fn vsnd_card_add_pcm(
        card: *mut SndCard,
        sound: *const c_void,
        device: u32,
        name: *const u8,
        name_length: usize,
        playback: u32,
        capture: u32,
        half_duplex: bool,
    ) -> c_int;
    /// Adds a volume or switch to a card.
    ///
    /// Context: process context, with the lock of the fronts held.
    /// Return: 0, or a negative error number.
    pub(crate) fn vsnd_card_add_control(
        card: *mut SndCard,
        control: *const ControlC,
        name: *const u8,
        name_length: usize,
    ) -> c_int;
    /// Adds the file of /proc in which limits are shown and set.
    ///
    /// Context: process context, with the lock of the fronts held.
    /// Return: 0, or a negative error number.
    pub(crate) fn vsnd_card_add_limits(card: *mut SndCard) -> c_int;
    /// Makes a card visible to applications.
    ///
    /// Context: process context, with the lock of the fronts held.
    /// Return: 0, or a negative error number.
    pub(crate) fn vsnd_card_register(card: *mut SndCard) -> c_int;
    /// Takes a card away from applications; ALSA frees it when the last one closes it.
    ///
    /// Context: process context, with no mutex held that an open or close of the card takes.
    pub(crate) fn vsnd_card_free(card: *mut SndCard);
    /// Appends text to a file of /proc.
    ///
    /// Context: process context, within `vsnd_sound_show`.
    pub(crate) fn vsnd_show(buffer: *mut InfoBuffer, text: *const u8, length: usize);

    /// Does not exist: a module that calls it does not link.
    #[cfg(target_os = "none")]
    pub(crate) fn vsnd_error_there_is_a_way_to_panic() -> !;
}

/// Result of a C function: success from 0 up, an error number below 0.
pub(crate) fn check(result: c_int) -> Result<(), driver::Error> {
    if result < 0 { Err(driver::Error::System(result.saturating_neg())) } else { Ok(()) }
}

/// Result of an operation, as C gets it: 0 or a negative error number.
pub(crate) fn status(result: Result<(), driver::Error>) -> c_int {
    result.map_or_else(|error| error.number().saturating_neg(), |()| 0)
}
