//! `vsnd_fuzz::store_server` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vsnd_fuzz::store_server(data));
