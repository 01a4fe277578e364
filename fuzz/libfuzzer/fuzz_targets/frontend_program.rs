//! `vsnd_fuzz::frontend_program` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vsnd_fuzz::frontend_program(data));
