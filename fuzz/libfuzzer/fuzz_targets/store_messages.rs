//! `vsnd_fuzz::store_messages` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vsnd_fuzz::store_messages(data));
