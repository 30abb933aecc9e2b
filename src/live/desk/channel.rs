//! From Asterisk's channel ids to call ids.
//!
//! Asterisk takes any text for a channel's id: whoever originates may choose
//! it, the far half of a Local channel has `;2` behind it, `systemname` comes
//! before all. A call id is a plain word. Such a call is served like any other,
//! under an id that is made from its channel's and always the same for it.

use sha2::{Digest, Sha256};

use crate::call::{CallId, CallRecord};

/// Characters of the channel's id that a made id keeps.
const KEPT: usize = 60;

/// The id of a channel's call: the channel's own wherever that is a call id.
pub(super) fn call_id(channel: &str) -> CallId {
    channel.parse().unwrap_or_else(|_| {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
                c
            } else {
                '_'
            }
        };
        let readable: String = channel.chars().take(KEPT).map(plain).collect();
        let digest = Sha256::digest(channel.as_bytes());
        let mark: String = digest[..4]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        // The letter makes it an id whatever it began with.
        let id = format!("x{readable}-{mark}");
        id.parse()
            .expect("a letter, then at most 69 plain characters")
    })
}

/// The channel of a call as its record names it.
pub(super) fn of_record(record: &CallRecord) -> String {
    let mut states = record.channel_states.iter();
    let own = states.find(|state| call_id(&state.channel) == record.call_id);
    own.map_or_else(|| record.call_id.to_string(), |state| state.channel.clone())
}

/// A text of Asterisk's that is empty where it has none.
pub(super) fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plain_channel_id_is_the_call_id() {
        assert_eq!(call_id("1764000000.12").as_str(), "1764000000.12");
        assert_eq!(
            call_id("pbx-1764000000.12;2").as_str(),
            "xpbx-1764000000.12_2-0a51869e"
        );
        assert_ne!(call_id("a;1"), call_id("a:1"));
    }

    proptest! {
        #[test]
        fn every_channel_has_one(channel in any::<String>()) {
            prop_assert_eq!(call_id(&channel), call_id(&channel));
        }
    }
}
