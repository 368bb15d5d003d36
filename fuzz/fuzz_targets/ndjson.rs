#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shelfmark_http_testkit::ndjson(bytes));
