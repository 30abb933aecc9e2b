#![no_main]
//! A call's media: whatever two senders do, every moment is in the account, at every moment.

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Any moment will do: a session looks at differences only.
    asterscribe_session::fuzz::session(asterscribe_clock::now(), data);
});
