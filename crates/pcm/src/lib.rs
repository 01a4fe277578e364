//! PCM samples: silence, gain, level and conversion for every sndif format.
//!
//! | module | for |
//! |---|---|
//! | [`silence`] | filling a buffer with a format's silence |
//! | [`gain`] | volume and mute per channel, applied in place without allocation |
//! | [`linear`] | how integer samples lie in memory; lossless conversion between such layouts |
//! | [`convert`] | any sample that is a number in any other format |
//! | [`decode`] | any sample that is a number as `f32`, for meters and pictures |
//! | [`mod@level`] | peak and RMS per channel |
//! | [`meter`] | peaks of a stream while it runs, for whoever looks |
//! | [`mod@waveform`] | minimum and maximum per column, drawn as text |
//!
//! Everywhere a buffer is a sequence of whole frames in interleaved order (one sample per channel,
//! channel 0 first) that starts at a frame's start. What is left at the end and fills no sample is
//! left alone; no function panics on any length.
//!
//! Samples are worked on in blocks, with a loop without branches for each format, so that the compiler makes vector
//! instructions of it; `make bench` counts them. Where it does not, `safe_arch` names the instructions.

#![forbid(unsafe_code)]

#[macro_use]
mod block;
pub mod convert;
pub mod decode;
mod fader;
mod fixed;
mod g711;
pub mod gain;
mod lanes;
pub mod level;
pub mod linear;
pub mod meter;
pub mod silence;
pub mod waveform;

pub use convert::{Converter, significant_bits};
pub use decode::{is_decodable, sample_bytes, samples};
pub use fader::Fader;
pub use gain::{Gain, supports_gain};
pub use level::{Level, level};
pub use linear::Linear;
pub use meter::Meter;
pub use silence::{fill_silence, silence_pattern};
pub use waveform::{Style, draw, waveform};
