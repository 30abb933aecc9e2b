//! L3: memory of a call. A program of its own, since it looks at the memory of the whole process.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::time::Duration;

use asterscribe_call::Leg;
use asterscribe_rtp::testkit::{build, origin};
use asterscribe_session::{CallSession, SessionConfig, SessionInput, SessionOutput};
use asterscribe_testkit::page;

/// Legs, so many that what the process takes beside them does not count.
const LEGS: usize = 1_000;

/// Packets for each leg: two seconds, by which all buffers have their size.
const PACKETS: u16 = 100;

/// Most bytes of memory for an idle leg.
const BOUND: usize = 32 * 1024;

fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn a_leg_that_is_silent_takes_little_memory() {
    let mut sessions: Vec<CallSession> = (0..LEGS)
        .map(|_| CallSession::new(SessionConfig::default(), origin()))
        .collect();
    let before = resident();
    for session in &mut sessions {
        let leg = session.add_leg(Leg::caller());
        for n in 0..PACKETS {
            let now = origin() + Duration::from_millis(20) * u32::from(n);
            let bytes = build::packet(n)
                .time(u32::from(n) * 160)
                .payload(&[0xff; 160])
                .bytes();
            session.handle(now, SessionInput::Datagram { leg, bytes: &bytes });
            while !matches!(session.poll(), SessionOutput::Wait(_)) {}
        }
    }
    let each = (resident() - before) / LEGS;
    assert!(each <= BOUND, "{each} bytes a leg");
    assert!(each > 1_000, "{each} bytes a leg: nothing was measured");
    page::assert_row(
        "docs/limits.md",
        "L3",
        &[
            "1,000 ulaw legs after two seconds of silent packets, detector and resampler included",
            "each takes less than 32 KiB",
        ],
    );
}
