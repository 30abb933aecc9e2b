use proptest::prelude::*;

use super::*;

fn interface(resolution: u8, offset_seconds: i64) -> CaptureInterface {
    CaptureInterface {
        link: Linktype::RAW,
        units_per_second: units_per_second(resolution),
        offset_seconds,
        leg: None,
    }
}

#[test]
fn times_count_in_the_interface_s_units_from_its_offset() {
    let time = |resolution, offset, units| interface(resolution, offset).time(units);
    assert_eq!(time(6, 0, 5_000_123), Duration::from_micros(5_000_123));
    assert_eq!(
        time(9, 0, 5_000_000_123),
        Duration::from_nanos(5_000_000_123)
    );
    assert_eq!(time(0, 0, 7), Duration::from_secs(7));
    assert_eq!(time(0x80 | 10, 0, 1024 + 512), Duration::from_millis(1500));
    assert_eq!(time(3, -2, 5_250), Duration::from_millis(3250));
    assert_eq!(time(3, -9, 5_250), Duration::ZERO);
    // No 64-bit clock counts so finely.
    assert_eq!(time(20, 0, 1_000_000), Duration::from_secs(1));
    assert_eq!(time(0xff, 0, 1_000_000), Duration::from_secs(1));
}

proptest! {
    #[test]
    fn no_time_of_any_interface_overflows_or_runs_back(resolution: u8, offset: i64, units: u64) {
        let interface = interface(resolution, offset);
        prop_assert!(interface.time(units) <= interface.time(units.saturating_add(1)));
    }

    #[test]
    fn any_bytes_on_any_link_are_a_datagram_or_none(link in 0i32..300, data in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(FrameContent::Udp { payload, .. }) = layers::open(link, &data) {
            prop_assert!(data.len() >= payload.len() + 28);
        }
    }
}
