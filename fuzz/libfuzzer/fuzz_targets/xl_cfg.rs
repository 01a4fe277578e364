//! `vsnd_fuzz::xl_cfg` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vsnd_fuzz::xl_cfg(data));
