//! From Asterisk's channel ids to call ids.
//!
//! Asterisk takes any text for a channel's id: whoever originates may choose
//! it, the far half of a Local channel has `;2` behind it, `systemname` comes
//! before all. A call id is a plain word. Such a call is served like any other,
//! under an id that is made from its channel's and always the same for it.
//!
//! And whoever originates may choose the same id again, for other people. Each
//! of such channels is a call of its own: the first has the channel's id, the
//! others that and a mark, made of what tells them apart.

use asterscribe_ari::model::AriChannel;
use asterscribe_call::{CallId, CallIdentity, CallRecord};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

/// Characters of the channel's id that a made id keeps.
const KEPT: usize = 60;

/// Characters of a call id that stay before a mark.
const UNMARKED: usize = 71;

/// How much later than a call a channel may be created that it is of, by two clocks.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(1);

/// Identity of a channel: its id and the time of its creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChannelLife {
    /// Asterisk's id of the channel.
    pub(super) id: String,
    /// Time at which the channel was created.
    pub(super) created_at: Option<Timestamp>,
    /// The time of creation as Asterisk writes it, where that cannot be read.
    unread: String,
}

impl ChannelLife {
    pub(crate) fn of(channel: &AriChannel) -> Self {
        let created_at = channel.created_at();
        let unread = created_at.map_or(channel.creationtime.as_str(), |_| "");
        Self {
            id: channel.id.clone(),
            created_at,
            unread: unread.to_owned(),
        }
    }

    /// The channel of a call.
    pub(crate) fn of_record(record: &CallRecord) -> Self {
        Self {
            id: of_record(record),
            created_at: record.identity.channel_created_at,
            unread: String::new(),
        }
    }

    /// Whether a call was opened for this very channel. One of which nothing tells when its
    /// channel was created is taken for the same only while it goes on.
    pub(crate) fn is_of(&self, record: &CallRecord) -> bool {
        let Some(id) = &record.identity.channel_id else {
            // Written by an earlier release.
            let is_older = |at: Timestamp| at <= record.started_at + CLOCKS_DIFFER;
            return record.status.is_open()
                && of_record(record) == self.id
                && self.created_at.is_none_or(is_older);
        };
        if *id != self.id || record.identity.channel_gone {
            return false;
        }
        match (record.identity.channel_created_at, self.created_at) {
            (Some(theirs), Some(ours)) => theirs == ours,
            _ => record.status.is_open(),
        }
    }

    /// Ids for a call of this channel, best first: the first that no other call has.
    pub(super) fn call_ids(&self) -> impl Iterator<Item = CallId> {
        let first = call_id(&self.id);
        let marked = (1u32..).map(|n| self.marked(n));
        std::iter::once(first).chain(marked)
    }

    fn marked(&self, n: u32) -> CallId {
        let created = self.created_at.map_or(0, Timestamp::as_millisecond);
        let digest = Sha256::new()
            .chain_update(self.id.as_bytes())
            .chain_update([0])
            .chain_update(self.unread.as_bytes())
            .chain_update(created.to_be_bytes())
            .chain_update(n.to_be_bytes())
            .finalize();
        let first = call_id(&self.id);
        let kept = first.as_str().len().min(UNMARKED);
        let id = format!("{}-{}", &first.as_str()[..kept], mark(&digest));
        id.parse()
            .expect("a call id's beginning and nine plain characters: 80 at most")
    }
}

/// Eight hexadecimal digits.
fn mark(digest: &[u8]) -> String {
    let bytes = digest.iter().take(4);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

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
        // The letter makes it an id whatever it began with.
        let id = format!("x{readable}-{}", mark(&digest));
        id.parse()
            .expect("a letter, then at most 69 plain characters")
    })
}

/// The channel of a call as its record names it.
pub(super) fn of_record(record: &CallRecord) -> String {
    if let Some(id) = &record.identity.channel_id {
        return id.clone();
    }
    let mut states = record.channel_states.iter();
    let own = states.find(|state| call_id(&state.channel) == record.call_id);
    own.map_or_else(|| record.call_id.to_string(), |state| state.channel.clone())
}

/// Identity of a call as its channel tells it: id, creation, account code and tags.
pub(super) fn identity(channel: &AriChannel) -> CallIdentity {
    CallIdentity {
        channel_id: Some(channel.id.clone()),
        channel_created_at: channel.created_at(),
        account_code: non_empty(&channel.accountcode),
        tags: tags(channel),
        ..CallIdentity::default()
    }
}

/// Arguments of `Stasis()` behind the application's name.
fn tags(channel: &AriChannel) -> Vec<String> {
    if !channel.args.is_empty() || channel.dialplan.app_name != "Stasis" {
        return channel.args.clone();
    }
    let data = channel.dialplan.app_data.split(',').skip(1);
    data.map(str::to_owned).collect()
}

/// A text of Asterisk's that is empty where it has none.
pub(super) fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_plain_channel_id_is_the_call_id() {
        assert_eq!(call_id("1764000000.12").as_str(), "1764000000.12");
        assert_eq!(
            call_id("pbx-1764000000.12;2").as_str(),
            "xpbx-1764000000.12_2-0a51869e"
        );
        assert_ne!(call_id("a;1"), call_id("a:1"));
    }

    fn life(id: &str, created: &str) -> ChannelLife {
        ChannelLife::of(&AriChannel {
            id: id.to_owned(),
            creationtime: created.to_owned(),
            ..AriChannel::default()
        })
    }

    fn record(channel_id: Option<&str>, created: Option<&str>, status: &str) -> CallRecord {
        serde_json::from_value(serde_json::json!({
            "call_id": "lead-42", "status": status, "origin": "stasis", "started_at": "2026-01-12T09:30:00Z",
            "legs": [], "lines": 0, "channel_id": channel_id, "channel_created_at": created,
        }))
        .unwrap()
    }

    const MORNING: &str = "2026-01-12T09:29:59.500+0000";
    const SAME: &str = "2026-01-12T10:29:59.500+01:00";

    #[test]
    fn a_channel_of_the_same_id_is_the_same_only_if_it_was_created_then() {
        let same = life("lead-42", MORNING);
        for status in ["active", "ended"] {
            assert!(same.is_of(&record(Some("lead-42"), Some(SAME), status)));
            let later = life("lead-42", "2026-01-12T09:29:59.501+0000");
            assert!(!later.is_of(&record(Some("lead-42"), Some(SAME), status)));
            assert!(!same.is_of(&record(Some("lead-43"), Some(SAME), status)));
            let is_open = status == "active";
            for unknown in [life("lead-42", ""), life("lead-42", "yesterday")] {
                assert_eq!(
                    unknown.is_of(&record(Some("lead-42"), Some(SAME), status)),
                    is_open
                );
            }
            assert_eq!(same.is_of(&record(Some("lead-42"), None, status)), is_open);
        }
        let mut gone = record(Some("lead-42"), Some(SAME), "ended");
        gone.identity.channel_gone = true;
        assert!(!same.is_of(&gone));
    }

    #[test]
    fn a_record_of_an_earlier_release_is_of_a_channel_that_was_there_when_it_began() {
        let open = record(None, None, "active");
        assert!(life("lead-42", MORNING).is_of(&open));
        assert!(!life("lead-42", "2026-01-12T09:31:00.000+0000").is_of(&open));
        assert!(!life("lead-43", MORNING).is_of(&open));
        assert!(!life("lead-42", MORNING).is_of(&record(None, None, "ended")));
    }

    proptest! {
        #[test]
        fn every_channel_has_ids_of_its_own(channel in any::<String>(), created in any::<String>()) {
            let of = |created: &str| life(&channel, created).call_ids().take(9).collect::<Vec<_>>();
            let ids = of(&created);
            prop_assert_eq!(&ids, &of(&created));
            prop_assert_eq!(&ids[0], &call_id(&channel));
            let distinct: std::collections::HashSet<_> = ids.iter().collect();
            prop_assert_eq!(distinct.len(), ids.len());
            let others = of(&format!("{created}+"));
            prop_assert_eq!(&ids[0], &others[0]);
            prop_assert!(ids[1..].iter().all(|id| !others.contains(id)));
        }
    }
}
