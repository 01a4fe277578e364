//! `vsnd_fuzz::v0_packets` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vsnd_fuzz::v0_packets(data));
