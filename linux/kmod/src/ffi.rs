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
    pub(crate) min_centibel: i32,
    pub(crate) step_centibel: u32,
}

unsafe extern "C" {
    pub(crate) fn vsnd_alloc(bytes: usize) -> *mut c_void;
    pub(crate) fn vsnd_free(memory: *mut c_void);
    pub(crate) fn vsnd_log(text: *const u8, length: usize);

    pub(crate) fn vsnd_mutex_new(class: u32) -> *mut Mutex;
    pub(crate) fn vsnd_mutex_free(mutex: *mut Mutex);
    pub(crate) fn vsnd_mutex_lock(mutex: *mut Mutex);
    /// Returns 0 when it is locked.
    pub(crate) fn vsnd_mutex_lock_killable(mutex: *mut Mutex) -> c_int;
    pub(crate) fn vsnd_mutex_unlock(mutex: *mut Mutex);

    pub(crate) fn vsnd_signal_new() -> *mut Completion;
    pub(crate) fn vsnd_signal_free(signal: *mut Completion);
    pub(crate) fn vsnd_signal_reset(signal: *mut Completion);
    pub(crate) fn vsnd_signal_raise(signal: *mut Completion);
    pub(crate) fn vsnd_signal_wait(signal: *mut Completion, ms: u32) -> bool;
    pub(crate) fn vsnd_now_ms() -> u32;
    pub(crate) fn vsnd_now_ns() -> u64;

    pub(crate) fn vsnd_device_look_in(ms: u32);

    pub(crate) fn vsnd_pages_new(domain: u32, count: usize) -> *mut Pages;
    pub(crate) fn vsnd_pages_ordinary(count: usize) -> *mut Pages;
    pub(crate) fn vsnd_pages_grant_again(pages: *mut Pages, domain: u32) -> c_int;
    pub(crate) fn vsnd_pages_free(pages: *mut Pages);
    pub(crate) fn vsnd_pages_kept() -> usize;

    /// Returns a negative error number as a pointer when it fails.
    pub(crate) fn vsnd_channel_new(
        dev: *mut XenbusDevice,
        stream: *const c_void,
        events: bool,
        port: *mut u32,
    ) -> *mut Channel;
    pub(crate) fn vsnd_channel_free(channel: *mut Channel);
    pub(crate) fn vsnd_channel_notify(channel: *mut Channel);

    pub(crate) fn vsnd_bus_number(dev: *mut XenbusDevice) -> u32;
    pub(crate) fn vsnd_bus_backend_id(dev: *mut XenbusDevice) -> u32;
    pub(crate) fn vsnd_bus_set_state(dev: *mut XenbusDevice, state: u32);
    pub(crate) fn vsnd_bus_read(dev: *mut XenbusDevice, node: *const Node, value: *mut u8, size: usize) -> isize;
    pub(crate) fn vsnd_bus_list(dev: *mut XenbusDevice, node: *const Node, count: *mut u32) -> *mut *mut c_char;
    pub(crate) fn vsnd_bus_begin(transaction: *mut u32) -> c_int;
    pub(crate) fn vsnd_bus_write(dev: *mut XenbusDevice, transaction: u32, node: *const Node, value: u32) -> c_int;
    pub(crate) fn vsnd_bus_remove(dev: *mut XenbusDevice, transaction: u32, node: *const Node) -> c_int;
    pub(crate) fn vsnd_bus_end(transaction: u32, abort: bool) -> c_int;

    pub(crate) fn vsnd_listener_new() -> *mut Listener;
    pub(crate) fn vsnd_listener_free(listener: *mut Listener);
    pub(crate) fn vsnd_listener_elapsed(listener: *mut Listener);
    pub(crate) fn vsnd_listener_stop(listener: *mut Listener, xrun: bool);
    pub(crate) fn vsnd_listener_volume_changed(listener: *mut Listener);

    pub(crate) fn vsnd_card_new(
        dev: *mut XenbusDevice,
        sound: *const c_void,
        names: *const Names,
        card: *mut *mut SndCard,
    ) -> c_int;
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
    pub(crate) fn vsnd_card_add_control(
        card: *mut SndCard,
        control: *const ControlC,
        name: *const u8,
        name_length: usize,
    ) -> c_int;
    pub(crate) fn vsnd_card_add_limits(card: *mut SndCard) -> c_int;
    pub(crate) fn vsnd_card_register(card: *mut SndCard) -> c_int;
    pub(crate) fn vsnd_card_free(card: *mut SndCard);
    pub(crate) fn vsnd_show(buffer: *mut InfoBuffer, text: *const u8, length: usize);

    /// Does not exist.
    #[cfg(target_os = "none")]
    pub(crate) fn vsnd_error_there_is_a_way_to_panic() -> !;
}

/// 0 or more is success, below 0 an error number.
pub(crate) fn check(result: c_int) -> Result<(), driver::Error> {
    if result < 0 { Err(driver::Error::System(result.saturating_neg())) } else { Ok(()) }
}

/// What C gets for a result.
pub(crate) fn status(result: Result<(), driver::Error>) -> c_int {
    result.map_or_else(|error| error.number().saturating_neg(), |()| 0)
}
