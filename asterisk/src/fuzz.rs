//! Bodies of fuzz targets: total functions over bytes.

use crate::event::AriEvent;

/// Any bytes as a message of the events websocket: an event or a typed error, never a panic.
pub fn event(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(event) = AriEvent::parse(text)
    {
        assert!(
            !event.kind().is_empty(),
            "an event without a type was accepted"
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            super::event(&data);
        }

        #[test]
        fn every_truncation_and_flip_of_an_event_is_survived(cut in 0usize..200, flip in any::<u8>()) {
            let text = br#"{"type":"StasisStart","args":["x"],"channel":{"id":"1.2","name":"PJSIP/a","state":"Up","caller":{"number":"1"}}}"#;
            let cut = cut.min(text.len());
            super::event(&text[..cut]);
            let mut other = text.to_vec();
            if let Some(byte) = other.get_mut(cut) {
                *byte ^= flip;
            }
            super::event(&other);
        }
    }
}
