//! PCM samples: silence, gain, level and conversion for every sndif format.
//!
//! | module | for |
//! |---|---|
//! | [`silence`] | filling a buffer with a format's silence |
//! | [`gain`] | volume and mute per channel, applied in place without allocation |
//! | [`linear`] | layout of integer samples in memory; lossless conversion between layouts |
//! | [`convert`] | numeric samples from any format to any other |
//! | [`decode`] | numeric samples as `f32`, for meters and pictures |
//! | [`mod@level`] | peak and RMS per channel |
//! | [`meter`] | peaks of a stream while it runs, for other threads |
//! | [`mod@waveform`] | minimum and maximum per column, drawn as text |
//!
//! Every buffer is a sequence of whole frames in interleaved order (one sample per channel, channel 0 first) that
//! starts at a frame's start. Bytes at the end that fill no sample are left alone; no function panics on any length.
//!
//! Samples are processed in blocks, with a loop without branches for each format, so that the compiler vectorizes it;
//! `make bench` counts the instructions. Where the compiler does not vectorize, `safe_arch` names the instructions.

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

pub use convert::Converter;
pub use decode::{is_decodable, sample_bytes, samples, significant_bits};
pub use fader::Fader;
pub use gain::{Gain, supports_gain};
pub use level::{Level, level};
pub use linear::Linear;
pub use meter::Meter;
pub use silence::{fill_silence, silence_pattern};
pub use waveform::{Style, draw, waveform};
