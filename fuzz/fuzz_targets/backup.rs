#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dmdl_fuzz::run("backup", data));
