//! `vsnd_fuzz::v0_backend_stream` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vsnd_fuzz::v0_backend_stream(data));
