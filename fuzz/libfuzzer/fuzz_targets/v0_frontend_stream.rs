//! `vsnd_fuzz::v0_frontend_stream` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vsnd_fuzz::v0_frontend_stream(data));
