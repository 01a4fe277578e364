// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The store and the event channels.

use core::ffi::CStr;
use core::ptr::NonNull;

use driver::{Bus, Channel, ChannelKind, Error, Substream, Text, Writer};
use sndif::XenbusState;

use crate::{Kernel, ffi};

/// Attempts at a transaction that somebody else's write interrupts.
const TRIES: u32 = 100;

/// `EAGAIN`
const AGAIN: i32 = 11;

/// Device of a card, from probe to remove.
pub(crate) struct KernelBus(NonNull<ffi::XenbusDevice>);

impl KernelBus {
    /// # Safety
    /// `dev` lives longer than this, and is used by one thread at a time.
    pub(crate) unsafe fn new(dev: *mut ffi::XenbusDevice) -> Option<Self> {
        NonNull::new(dev).map(Self)
    }

    pub(crate) fn device(&self) -> *mut ffi::XenbusDevice {
        self.0.as_ptr()
    }

    /// Returns the device's number in the store.
    pub(crate) fn number(&self) -> u32 {
        // SAFETY: the device lives longer than `self`, says the caller of `new`.
        unsafe { ffi::vsnd_bus_number(self.device()) }
    }

    fn value<'a>(&self, node: &ffi::Node, into: &'a mut [u8]) -> Option<&'a [u8]> {
        // SAFETY: the device lives; the node's texts and `into` have the given lengths.
        let length = unsafe { ffi::vsnd_bus_read(self.device(), node, into.as_mut_ptr(), into.len()) };
        into.get(..usize::try_from(length).ok()?)
    }
}

fn node(backend: bool, path: &str, name: &str) -> ffi::Node {
    ffi::Node { backend, path: path.as_ptr(), path_length: path.len(), name: name.as_ptr(), name_length: name.len() }
}

impl Bus<Kernel> for KernelBus {
    type Writer = KernelWriter;

    fn backend_id(&self) -> u16 {
        // SAFETY: the device lives longer than `self`, says the caller of `new`.
        let id = unsafe { ffi::vsnd_bus_backend_id(self.device()) };
        // Every domain's number fits; Xen refuses grants to this one.
        u16::try_from(id).unwrap_or(u16::MAX)
    }

    fn read<'a>(&self, path: &str, name: &str, into: &'a mut [u8]) -> Option<&'a [u8]> {
        self.value(&node(false, path, name), into)
    }

    fn read_backend<'a>(&self, name: &str, into: &'a mut [u8]) -> Option<&'a [u8]> {
        self.value(&node(true, "", name), into)
    }

    fn list(&self, path: &str, each: &mut dyn FnMut(&[u8])) {
        let mut count = 0;
        // SAFETY: the device lives; the node's texts have the given lengths.
        let list = unsafe { ffi::vsnd_bus_list(self.device(), &node(false, path, ""), &mut count) };
        if list.is_null() {
            return;
        }
        for index in 0..usize::try_from(count).unwrap_or(0) {
            // SAFETY: `index` is below `count`, and `count` entries are one allocation that starts at `list`.
            let place = unsafe { list.add(index) };
            // SAFETY: the entry is one of the `count` pointers that C has written, with C's alignment.
            let entry = unsafe { place.read() };
            // SAFETY: each entry is terminated, and lives as long as the list.
            each(unsafe { CStr::from_ptr(entry) }.to_bytes());
        }
        // SAFETY: the list is one allocation of the kernel's, which includes its texts, and is not used any more.
        unsafe { ffi::vsnd_free(list.cast()) };
    }

    fn transaction(&self, write: &mut dyn FnMut(&KernelWriter) -> Result<(), Error>) -> Result<(), Error> {
        for _ in 0..TRIES {
            let mut transaction = 0;
            // SAFETY: the function writes the number of the transaction, for which there is room.
            ffi::check(unsafe { ffi::vsnd_bus_begin(&mut transaction) })?;
            let written = write(&KernelWriter { device: self.0, transaction });
            // SAFETY: the transaction was begun above, and is ended once.
            let ended = ffi::check(unsafe { ffi::vsnd_bus_end(transaction, written.is_err()) });
            written?;
            if ended != Err(Error::System(AGAIN)) {
                return ended;
            }
        }
        Err(Error::Busy)
    }

    fn channel(&self, stream: &Substream<Kernel>, kind: ChannelKind) -> Result<KernelChannel, Error> {
        let mut port = 0;
        let stream = core::ptr::from_ref(stream).cast();
        // SAFETY: the device lives, and `port` can be written. The channel uses the stream until it is closed: a stream
        // is made in its place in the sound's `KVec`, whose values never move, and closes its channels when it is
        // dropped.
        let channel = unsafe { ffi::vsnd_channel_new(self.device(), stream, kind == ChannelKind::Events, &mut port) };
        // The upper 4095 addresses are negative error numbers.
        let error = channel.addr().cast_signed();
        match NonNull::new(channel) {
            Some(channel) if !(-4095..0).contains(&error) => Ok(KernelChannel { channel, port }),
            _ => Err(i32::try_from(error.saturating_neg()).map_or(Error::NoMemory, Error::System)),
        }
    }

    fn set_state(&self, state: XenbusState) {
        // SAFETY: the device lives longer than `self`, says the caller of `new`.
        unsafe { ffi::vsnd_bus_set_state(self.device(), state as u32) };
    }
}

/// An open transaction.
pub(crate) struct KernelWriter {
    device: NonNull<ffi::XenbusDevice>,
    transaction: u32,
}

impl Writer for KernelWriter {
    fn number(&self, path: &Text, name: &str, value: u32) -> Result<(), Error> {
        let node = node(false, path.as_str(), name);
        // SAFETY: the device lives; the node's texts have the given lengths.
        ffi::check(unsafe { ffi::vsnd_bus_write(self.device.as_ptr(), self.transaction, &node, value) })
    }

    fn remove(&self, path: &Text, name: &str) -> Result<(), Error> {
        let node = node(false, path.as_str(), name);
        // SAFETY: the device lives; the node's texts have the given lengths.
        ffi::check(unsafe { ffi::vsnd_bus_remove(self.device.as_ptr(), self.transaction, &node) })
    }
}

/// An event channel.
pub struct KernelChannel {
    channel: NonNull<ffi::Channel>,
    port: u32,
}

// SAFETY: a channel belongs to no thread: any thread may call C's functions for it.
unsafe impl Send for KernelChannel {}

impl Channel for KernelChannel {
    fn port(&self) -> u32 {
        self.port
    }

    fn notify(&self) {
        // SAFETY: `vsnd_channel_new` made the channel, and it lives until `self` is dropped.
        unsafe { ffi::vsnd_channel_notify(self.channel.as_ptr()) };
    }
}

impl Drop for KernelChannel {
    fn drop(&mut self) {
        // SAFETY: `vsnd_channel_new` made the channel, and this is its last use. The thread may sleep and holds no lock
        // that the handler takes, for whose end the call waits.
        unsafe { ffi::vsnd_channel_free(self.channel.as_ptr()) };
    }
}
