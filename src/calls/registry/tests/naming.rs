//! Relation between channels and calls.

use super::*;
use crate::calls::channel::ChannelLife;

const FIRST: &str = "2026-01-12T09:30:00Z";
const SECOND: &str = "2026-01-12T09:40:00Z";

fn life(channel: &str, created: &str) -> ChannelLife {
    ChannelLife::of(&AriChannel {
        id: channel.to_owned(),
        creationtime: created.to_owned(),
        ..Default::default()
    })
}

fn of_channel(call: &str, channel: &str, created: &str) -> CallOpening {
    CallOpening {
        channel: channel.to_owned(),
        identity: CallIdentity {
            channel_id: Some(channel.to_owned()),
            channel_created_at: created.parse().ok(),
            ..CallIdentity::default()
        },
        past: CallPast::Unknown,
        ..opening(call)
    }
}

fn history(channel: Option<(&str, &str)>, lines: u64) -> StoredHistory {
    let record = channel.map(|(channel, created)| {
        serde_json::from_value(serde_json::json!({
            "call_id": "lead-42", "status": "ended", "origin": "stasis", "started_at": FIRST, "legs": [],
            "lines": lines, "channel_id": channel, "channel_created_at": created,
        }))
        .unwrap()
    });
    StoredHistory {
        record,
        lines,
        digits: Vec::new(),
    }
}

#[test]
fn a_channel_finds_its_own_call_and_no_other_of_its_id() {
    let mut rig = Rig::new();
    rig.registry
        .open(rig.now, rig.wall, of_channel("lead-42", "lead-42", FIRST));
    let (first, second) = (life("lead-42", FIRST), life("lead-42", SECOND));
    assert_eq!(rig.registry.call_of_life(&first), Some(id("lead-42")));
    assert_eq!(rig.registry.call_of_life(&second), None);
    // It left our application, and may come back.
    rig.end("lead-42");
    rig.close(&id("lead-42"));
    assert_eq!(rig.registry.call_on("lead-42"), None);
    assert_eq!(rig.registry.newest_on("lead-42"), Some(id("lead-42")));
    assert_eq!(rig.registry.call_of_life(&first), Some(id("lead-42")));
    // The other one's words are another call's, though the first is still here.
    rig.registry.open(
        rig.now,
        rig.wall,
        of_channel("lead-42-b", "lead-42", SECOND),
    );
    assert_eq!(rig.registry.call_on("lead-42"), Some(id("lead-42-b")));
    assert_eq!(rig.registry.call_of_life(&second), Some(id("lead-42-b")));
    rig.registry.channel_gone(&id("lead-42-b"));
    assert_eq!(rig.registry.call_of_life(&second), None, "its end was told");
}

#[test]
fn a_call_of_which_the_store_has_another_gives_way_before_anything_is_written() {
    let mut rig = Rig::new();
    let opening = of_channel("lead-42", "lead-42", SECOND);
    let media_run = rig.registry.open(rig.now, rig.wall, opening).media_run;
    rig.registry.line(&media_run.media, line(0));
    let call = id("lead-42");
    let same = history(Some(("lead-42", SECOND)), 1);
    assert!(!rig.registry.is_anothers(&call, &same));
    // Another channel's, or of nobody knows whom.
    for others in [history(Some(("lead-42", FIRST)), 1), history(None, 1)] {
        assert!(rig.registry.is_anothers(&call, &others));
    }
    rig.registry.rename(&call, &id("lead-42-b"));
    assert!(rig.registry.take_writes().is_empty());
    assert_eq!(rig.registry.call_on("lead-42"), Some(id("lead-42-b")));
    let listed = rig.registry.newest(None, 9).into_iter().map(|key| key.call);
    assert_eq!(listed.collect::<Vec<_>>(), [id("lead-42-b")]);
    assert_eq!(rig.registry.next_unknown(), Some(id("lead-42-b")));
    rig.registry.learn(&id("lead-42-b"), None);
    rig.registry.line(&media_run.media, line(10));
    assert_eq!(rig.seqs("lead-42-b"), [0, 1]);
    let writes = rig.registry.take_writes();
    let of_it = |write: &StoreWrite| match write {
        StoreWrite::Call(record) => record.call_id == id("lead-42-b"),
        StoreWrite::Line { call, .. } | StoreWrite::Dtmf { call, .. } => *call == id("lead-42-b"),
        _ => false,
    };
    assert!(!writes.is_empty() && writes.iter().all(of_it), "{writes:?}");
}

#[test]
fn a_registered_call_is_no_channels() {
    let mut rig = Rig::new();
    let media = CallOpening {
        origin: CallOrigin::Media,
        ..opening("lead-42")
    };
    rig.registry.open(rig.now, rig.wall, media);
    assert_eq!(rig.registry.call_on("lead-42"), None);
    assert_eq!(rig.registry.newest_on("lead-42"), None);
    assert_eq!(rig.registry.call_of_life(&life("lead-42", FIRST)), None);
}
