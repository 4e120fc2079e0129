//! See `nova_agent_fuzz::store_client`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| nova_agent_fuzz::store_client(data));
