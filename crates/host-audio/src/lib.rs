//! Sinks and sources on the host behind one trait.
//!
//! A [`DeviceSpec`] names the sink or source of a stream (`null`, `wav:PATH`, `alsa:PCM`, …); its [`HostDevice`] says
//! what is possible and opens a [`Sink`] or a [`Source`] for one stream.
//!
//! A program's control thread may call every method of a sink or source: none waits, and those on the path of a frame
//! neither allocate nor take a lock. [`Pacing`] says who keeps the time: a real device signals a descriptor once a
//! period; for the others the caller has a clock of its own.
//!
//! | device | pacing | where the bytes go |
//! |---|---|---|
//! | `null` | caller | nowhere; a source is silent |
//! | `wav` | caller | a ring, then a thread that writes the file; [`finish_all`] at the end |
//! | `alsa` | device | a ring, then a thread with the PCM |
//! | `pulse` | device | a ring, then a thread with a connection to the server |
//! | `pipewire` | device | a ring, then a thread, another ring, then the server's graph; needs the feature `pipewire` |

#![forbid(unsafe_code)]

#[cfg(feature = "alsa")]
mod alsa;
pub mod catalogue;
mod device;
mod error;
mod kinds;
pub mod libpulse;
mod libraries;
mod live;
mod null;
mod offer;
#[cfg(feature = "pipewire")]
mod pipewire;
mod pulse;
mod server_address;
mod session;
pub mod speakers;
mod spec;
mod stream;
mod stream_spec;
pub mod wav;

pub use device::{Capabilities, DeviceOptions, Direction, Fallback, HostDevice, Minimums, StreamAddress, identity};
pub use error::{Error, ErrorKind};
pub use libraries::libraries;
pub use spec::{DeviceSpec, ParseDeviceError};
pub use stream::{HostStream, Notice, Pacing, ServerVolume, Sink, Source};
pub use stream_spec::StreamSpec;
pub use wav::finish_all;
