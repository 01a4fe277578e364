//! Hypercalls of beep, one function each.
//!
//! Sources: `xen/include/public/xen.h`, `memory.h`, `event_channel.h`, `sched.h`, `hvm/hvm_op.h` of the Xen project.
#![expect(unsafe_code, reason = "hypercalls")]

use core::sync::atomic::{AtomicBool, Ordering};

use crate::arch;
use crate::error::{Error, Result};
use crate::memory::{Frame, Shared};

/// A domain, by its number.
pub type DomainId = u16;

/// The caller's own domain (`DOMID_SELF`).
const SELF: DomainId = 0x7ff0;

/// End of an event channel in this domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port(pub u32);

/// The rings that every guest has from its start.
#[derive(Debug, Clone, Copy)]
pub enum Ring {
    /// To XenStore.
    Store,
    /// To the console.
    Console,
}

/// Pages of Xen's that can be put among ours (`XENMAPSPACE_*`).
#[derive(Debug, Clone, Copy)]
pub enum Space {
    /// Event channels and the time.
    SharedInfo = 0,
    /// Table of our pages that other domains may map.
    GrantTable = 1,
}

/// Reason for which a domain ends (`SHUTDOWN_*`).
#[derive(Debug, Clone, Copy)]
pub enum Reason {
    /// The guest has finished.
    PowerOff = 0,
    /// The guest has failed.
    Crash = 3,
}

#[derive(Debug, Clone, Copy)]
#[repr(usize)]
enum Call {
    Memory = 12,
    Schedule = 29,
    EventChannel = 32,
    Hvm = 34,
}

/// True once Xen was found.
static READY: AtomicBool = AtomicBool::new(false);

/// `-ENOSYS`, what Xen answers calls that it does not know.
const NO_SUCH_CALL: i64 = -38;

/// Prepares hypercalls; until then all of them fail.
pub fn prepare() -> Result<()> {
    arch::prepare()?;
    READY.store(true, Ordering::Release);
    Ok(())
}

/// Makes a hypercall whose arguments are a command and a structure.
///
/// # Safety
/// `argument` is the structure that the command takes, and whatever it points to is valid for what the command does with it.
unsafe fn call<T>(call: Call, command: usize, argument: &mut T) -> i64 {
    if !READY.load(Ordering::Acquire) {
        return NO_SUCH_CALL;
    }
    // SAFETY: Xen was found, and the caller promises the rest.
    unsafe { arch::call(call as usize, [command, (&raw mut *argument).expose_provenance(), 0]) }
}

/// An error where Xen refused a call.
pub fn done(what: &'static str, status: i64) -> Result<()> {
    if status < 0 { Err(Error::Xen { what, status }) } else { Ok(()) }
}

/// The page of a ring.
pub fn ring_frame(ring: Ring) -> Result<Frame> {
    let index = match ring {
        Ring::Store => 1,
        Ring::Console => 17,
    };
    match parameter(index)? {
        0 => Err(Error::NoRing(ring)),
        frame => Ok(Frame(frame)),
    }
}

/// Our end of a ring's event channel.
pub fn ring_port(ring: Ring) -> Result<Port> {
    let index = match ring {
        Ring::Store => 2,
        Ring::Console => 18,
    };
    parameter(index).map(|port| Port(port as u32))
}

/// One of the values that Xen keeps for this guest (`HVM_PARAM_*`).
fn parameter(index: u32) -> Result<u64> {
    #[repr(C)]
    struct HvmParam {
        domain: DomainId,
        index: u32,
        value: u64,
    }
    const GET: usize = 1;
    let mut argument = HvmParam { domain: SELF, index, value: 0 };
    // SAFETY: HVMOP_get_param takes this structure and writes into it.
    done("HVMOP_get_param", unsafe { call(Call::Hvm, GET, &mut argument) })?;
    Ok(argument.value)
}

/// Puts the first page of one of Xen's spaces in place of another.
pub fn map(space: Space, place: Shared) -> Result<()> {
    #[repr(C)]
    struct AddToPhysmap {
        domain: DomainId,
        size: u16,
        space: u32,
        index: u64,
        frame: u64,
    }
    const ADD_TO_PHYSMAP: usize = 7;
    let mut argument = AddToPhysmap { domain: SELF, size: 0, space: space as u32, index: 0, frame: place.frame().0 };
    // SAFETY: XENMEM_add_to_physmap takes this structure. The memory at `place` becomes other memory, as `Shared` may at any
    // time: nobody has a reference to what is in it.
    done("XENMEM_add_to_physmap", unsafe { call(Call::Memory, ADD_TO_PHYSMAP, &mut argument) })
}

/// Makes our end of an event channel, to which `remote` can bind the other.
pub fn alloc_unbound(remote: DomainId) -> Result<Port> {
    #[repr(C)]
    struct AllocUnbound {
        domain: DomainId,
        remote: DomainId,
        port: u32,
    }
    const ALLOC_UNBOUND: usize = 6;
    let mut argument = AllocUnbound { domain: SELF, remote, port: 0 };
    // SAFETY: EVTCHNOP_alloc_unbound takes this structure and writes into it.
    done("EVTCHNOP_alloc_unbound", unsafe { call(Call::EventChannel, ALLOC_UNBOUND, &mut argument) })?;
    Ok(Port(argument.port))
}

/// Notifies the other end of a channel.
pub fn send(port: Port) -> Result<()> {
    const SEND: usize = 4;
    let mut argument = port.0;
    // SAFETY: EVTCHNOP_send takes a structure of one word, the port.
    done("EVTCHNOP_send", unsafe { call(Call::EventChannel, SEND, &mut argument) })
}

/// Gives a channel up.
pub fn close(port: Port) -> Result<()> {
    const CLOSE: usize = 3;
    let mut argument = port.0;
    // SAFETY: EVTCHNOP_close takes a structure of one word, the port.
    done("EVTCHNOP_close", unsafe { call(Call::EventChannel, CLOSE, &mut argument) })
}

/// Sleeps until one of the channels is pending, or until the time `until_ns`. May return earlier.
pub fn poll(ports: &[Port], until_ns: u64) -> Result<()> {
    #[repr(C)]
    struct Poll {
        ports: *const u32,
        count: u32,
        until_ns: u64,
    }
    const POLL: usize = 3;
    const PORTS_MAX: usize = 8;
    let mut numbers = [0; PORTS_MAX];
    let count = ports.len().min(PORTS_MAX);
    for (number, port) in numbers.iter_mut().zip(ports) {
        *number = port.0;
    }
    let mut argument = Poll { ports: numbers.as_ptr(), count: count as u32, until_ns };
    // SAFETY: SCHEDOP_poll takes this structure. It reads `count` numbers at `ports`, where there are as many.
    done("SCHEDOP_poll", unsafe { call(Call::Schedule, POLL, &mut argument) })
}

/// Ends this domain.
pub fn shutdown(reason: Reason) -> ! {
    const SHUTDOWN: usize = 2;
    let mut argument = reason as u32;
    loop {
        // SAFETY: SCHEDOP_shutdown takes a structure of one word, the reason.
        let _ = unsafe { call(Call::Schedule, SHUTDOWN, &mut argument) };
    }
}
