//! Two servers that write of one call, while one takes it over from the other.

use asterscribe_call::CallStatus::{Active, Ended, Failed};
use asterscribe_call::{CallRecord, TranscriptLine};
use asterscribe_store::{CallCounters, CallStore, StoreWrite};

use super::engine::{id, line, lines, record};

/// A line of the server that took the call over, which numbers on from what it found.
fn newcomers(seq: u64) -> TranscriptLine {
    TranscriptLine {
        start_ms: seq * 1000 + 700,
        end_ms: seq * 1000 + 900,
        text: format!("the newcomer's {seq}"),
        ..line(seq)
    }
}

pub(super) async fn two_servers_lines_under_one_number_are_both_kept(store: &dyn CallStore) {
    // Whoever is first; and where lines before it are lost.
    let own = |seq| (line(seq), newcomers(seq));
    for (call, first, (before, after)) in [
        ("1.1", 0, own(3)),
        ("1.2", 0, (newcomers(3), line(3))),
        ("1.3", 2, own(3)),
    ] {
        let call = id(call);
        let displaced = store.displaced();
        for seq in first..3 {
            store.append_line(&call, &line(seq)).await.unwrap();
        }
        let told = [before.clone(), after.clone(), newcomers(4), newcomers(5)];
        let kept = |seq, line: &TranscriptLine| TranscriptLine {
            seq,
            ..line.clone()
        };
        let expected: Vec<_> = lines(first..3)
            .into_iter()
            .chain((3..).zip(&told).map(|(seq, line)| kept(seq, line)))
            .collect();
        // A batch that is repeated changes nothing.
        for _again in 0..3 {
            for line in &told {
                store.append_line(&call, line).await.unwrap();
            }
            assert_eq!(store.lines(&call, 0).await.unwrap(), expected, "{call}");
            assert_eq!(store.displaced() - displaced, 3, "{call}");
        }
        assert_eq!(store.lines_below(&call, 99).await.unwrap(), 7 - first);
        // Each is revised where it is.
        for (place, line) in (3..).zip(&told) {
            let revised = TranscriptLine {
                text: format!("revised {place}"),
                revision: line.revision + 1,
                ..line.clone()
            };
            let revise = StoreWrite::Revise {
                call: call.clone(),
                line: revised.clone(),
            };
            store.apply(&[revise.clone(), revise]).await.unwrap();
            let stored = store.lines(&call, place).await.unwrap();
            assert_eq!(stored[0], kept(place, &revised), "{call}");
        }
        assert_eq!(store.lines_below(&call, 99).await.unwrap(), 7 - first);
    }
    assert_eq!(store.unreadable(), 0);
}

pub(super) async fn a_call_that_was_given_up_is_ended_by_whoever_has_it(store: &dyn CallStore) {
    let of = |call: &str, node: &str, status| CallRecord {
        node: node.to_owned(),
        ..record(call, 0, status)
    };
    let give_up = |call, node, status| [StoreWrite::GivenUp(Box::new(of(call, node, status)))];
    let counters = |active, processed| CallCounters { active, processed };
    store.put_call(&of("a", "old", Active)).await.unwrap();
    store.put_call(&of("a", "new", Active)).await.unwrap();
    // Neither its last figures nor its end.
    for status in [Active, Ended, Failed] {
        store.apply(&give_up("a", "old", status)).await.unwrap();
        let stored = store.call(&id("a")).await.unwrap();
        assert_eq!(stored, Some(of("a", "new", Active)));
        assert_eq!(store.counters().await.unwrap(), counters(1, 0));
    }
    store.put_call(&of("a", "new", Ended)).await.unwrap();
    assert_eq!(store.counters().await.unwrap(), counters(0, 1));
    // Where nobody has taken it up, it is over.
    store.put_call(&of("b", "old", Active)).await.unwrap();
    for call in ["b", "c"] {
        store.apply(&give_up(call, "old", Ended)).await.unwrap();
        let stored = store.call(&id(call)).await.unwrap();
        assert_eq!(stored, Some(of(call, "old", Ended)));
    }
    assert_eq!(store.counters().await.unwrap(), counters(0, 3));
    assert_eq!(store.open_calls().await.unwrap(), []);
}
