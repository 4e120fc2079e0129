//! See `nova_agent_fuzz::decrypt`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| nova_agent_fuzz::decrypt(data));
