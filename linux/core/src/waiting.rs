// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Models of waiting (loom): a waiting thread is woken, in whatever order threads run. A lost wake-up would leave a
//! model without a thread that can go on, which fails the test. Time never passes here, so no wait ends by timeout.

use std::rc::Rc;

use frontend::v0::Hardware;
use loom::sync::{Condvar, Mutex};
use loom::thread;
use sndif::Format;
use sndif::store::Direction;

use crate::testing::{TestBox, TestBus, TestChannel, TestListener, TestPages, backend, reset, v0_attach, v0_backend};
use crate::{Error, Lock, LockClass, PcmStream, Platform, Signal, Substream, connect, layout, v0};

struct LoomKernel;

impl Platform for LoomKernel {
    type Pages = TestPages;
    type Channel = TestChannel;
    type Lock<T> = LoomLock<T>;
    type Boxed<T> = TestBox<T>;
    type Signal = LoomSignal;
    type Listener = TestListener;
}

struct LoomLock<T>(Mutex<T>);

impl<T> Lock<T> for LoomLock<T> {
    fn new(_class: LockClass, make: impl FnOnce() -> T) -> Result<Self, Error> {
        Ok(Self(Mutex::new(make())))
    }
    fn with<R>(&self, access: impl FnOnce(&mut T) -> R) -> R {
        access(&mut self.0.lock().unwrap())
    }
    fn with_unless_killed<R>(&self, access: impl FnOnce(&mut T) -> R) -> Result<R, Error> {
        Ok(self.with(access))
    }
}

/// A signal like the kernel's completion: a count, from which a waiter takes one.
struct LoomSignal {
    raised: Mutex<u32>,
    changed: Condvar,
}

impl Signal for LoomSignal {
    fn new() -> Result<Self, Error> {
        Ok(Self { raised: Mutex::new(0), changed: Condvar::new() })
    }
    fn reset(&self) {
        *self.raised.lock().unwrap() = 0;
    }
    fn raise(&self) {
        *self.raised.lock().unwrap() += 1;
        self.changed.notify_one();
    }
    fn wait(&self, _ms: u32) -> Result<(), Error> {
        let mut raised = self.raised.lock().unwrap();
        while *raised == 0 {
            raised = self.changed.wait(raised).unwrap();
        }
        *raised -= 1;
        Ok(())
    }
    fn now_ms() -> u32 {
        0
    }
    fn now_ns() -> u64 {
        0
    }
}

/// Makes a connected stream. (All threads of a model are one thread of the system.)
fn stream() -> Rc<Substream<LoomKernel>> {
    reset();
    let bus = TestBus::new(&[("0/0/type", "p")]);
    let mut stream = None;
    layout::streams::<LoomKernel>(&bus, &mut |info| stream = PcmStream::new(info).ok().map(Substream::V2)).unwrap();
    let stream = stream.unwrap();
    let features = connect::features::<LoomKernel>(&bus);
    connect::publish(&bus, core::slice::from_ref(&stream), features).unwrap();
    bus.attach("0/0");
    stream.connected();
    Rc::new(stream)
}

/// Runs the backend: answers `requests` requests, and notifies where it was asked to.
fn serve(stream: &Substream<LoomKernel>, requests: usize) {
    while backend(|backend| backend.seen.len()) < requests {
        let notified = backend(|backend| {
            let before = backend.notified;
            backend.serve();
            backend.notified > before
        });
        if notified {
            stream.on_ring();
        }
        thread::yield_now();
    }
}

/// Makes a connected stream of version 0 with a buffer.
fn v0_stream() -> Rc<Substream<LoomKernel>> {
    reset();
    let bus = TestBus::new(&[("backend/stream_id", "0")]);
    let stream = Substream::V0(v0::stream::<LoomKernel>(&bus, Hardware::AC97).unwrap());
    let features = connect::features::<LoomKernel>(&bus);
    connect::publish(&bus, core::slice::from_ref(&stream), features).unwrap();
    v0_attach(bus.node("ring-ref").unwrap().parse().unwrap());
    stream.connected();
    stream.hw_params(Format::U8, 1, 8000, 8, 16).unwrap();
    Rc::new(stream)
}

/// Runs the backend of version 0, like [`serve`].
fn v0_serve(stream: &Substream<LoomKernel>, requests: usize) {
    while v0_backend(|backend| backend.answered) < requests {
        let notified = v0_backend(|backend| {
            let before = backend.notified;
            backend.serve();
            backend.notified > before
        });
        if notified {
            stream.on_ring();
        }
        thread::yield_now();
    }
}

#[test]
fn an_answer_that_comes_between_the_look_and_the_wait_is_not_missed() {
    loom::model(|| {
        let stream = stream();
        let served = Rc::clone(&stream);
        let backend = thread::spawn(move || serve(&served, 1));
        assert!(stream.open(Direction::Playback).is_ok());
        backend.join().unwrap();
    });
}

#[test]
fn an_answer_that_another_thread_takes_still_wakes_who_waits_for_it() {
    loom::model(|| {
        let stream = stream();
        let (served, looked) = (Rc::clone(&stream), Rc::clone(&stream));
        let backend = thread::spawn(move || serve(&served, 1));
        let looking = thread::spawn(move || looked.pointer());
        assert!(stream.open(Direction::Playback).is_ok());
        looking.join().unwrap();
        backend.join().unwrap();
    });
}

#[test]
fn a_thread_that_waits_for_a_backend_that_goes_is_woken() {
    loom::model(|| {
        let stream = stream();
        let lost = Rc::clone(&stream);
        let losing = thread::spawn(move || {
            lost.lose();
            lost.remove();
        });
        assert_eq!(stream.open(Direction::Playback), Err(Error::Lost));
        losing.join().unwrap();
    });
}

#[test]
fn a_thread_that_waits_for_a_backend_that_comes_back_is_woken() {
    loom::model(|| {
        let stream = stream();
        stream.lose();
        let connected = Rc::clone(&stream);
        let connecting = thread::spawn(move || {
            connected.connected();
        });
        // Without a buffer there is nothing to open: `prepare` ends as soon as the stream is connected.
        assert_eq!(stream.prepare(), Err(Error::Invalid));
        connecting.join().unwrap();
    });
}

#[test]
fn in_version_0_an_answer_that_comes_between_the_look_and_the_wait_is_not_missed() {
    loom::model(|| {
        let stream = v0_stream();
        let served = Rc::clone(&stream);
        let backend = thread::spawn(move || v0_serve(&served, 1));
        assert_eq!(stream.prepare(), Ok(()));
        backend.join().unwrap();
    });
}
