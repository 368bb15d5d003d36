#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shelfmark_testkit::fuzz::block(bytes));
