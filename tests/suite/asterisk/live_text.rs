//! Partials of a live call: a party's words can be read while they are spoken.

use std::collections::BTreeMap;

use asterscribe_testkit::asterisk::Release;
use asterscribe_testkit::host;
use asterscribe_testkit::scenario::MONOLOGUE;
use serde_json::Value;

use super::stasis::monologue;
use super::{CALL, Rig, assert_said, heard};
use crate::recognition::word_times::{Errors, truth};

#[test]
fn sentences_grow_word_by_word_and_become_lines_with_times() {
    let Some(rig) = Rig::start(Release::V22) else {
        return;
    };
    rig.call_into_stasis("live-1", "talk");
    let seen = follow(&rig, "live-1");
    let transcript = rig.await_complete("live-1");
    assert_said(&monologue(), &heard(&transcript, "caller"));
    assert!(transcript["partials"].is_null(), "{transcript}");

    for line in transcript["lines"].as_array().unwrap() {
        let start = line["start_ms"].as_u64().unwrap();
        let of_line = seen
            .values()
            .filter(|partial| partial["start_ms"].as_u64().unwrap().abs_diff(start) < 100);
        assert!(
            of_line.count() >= 1,
            "nothing was shown of {line} while it was said"
        );
    }
    check_growth(&seen);
    let errors = time_errors(&transcript);
    let (near, all) = (errors.near(), errors.len());
    println!(
        "{near} of {all} within 150 ms, half within {} ms, nine of ten within {} ms",
        errors.within(50),
        errors.within(90)
    );
    assert!(all >= 15, "too little was heard to judge by");
    assert!(near * 100 >= all * 80, "{near} of {all}");
}

/// Every partial that was shown while the call went on, by revision.
fn follow(rig: &Rig, call: &str) -> BTreeMap<u64, Value> {
    let path = format!("/api/call/{call}/transcript");
    let mut seen = BTreeMap::new();
    let over = || {
        let Ok(answer) = rig.server.get(&path) else {
            return false;
        };
        if answer.status != 200 {
            return false;
        }
        let transcript = answer.json();
        for partial in transcript["partials"].as_array().into_iter().flatten() {
            check_not_after_its_line(partial, &transcript);
            seen.insert(partial["revision"].as_u64().unwrap(), partial.clone());
        }
        transcript["complete"] == true
    };
    assert!(
        host::wait_until(host::now() + CALL, over),
        "the call goes on"
    );
    seen
}

fn check_not_after_its_line(partial: &Value, transcript: &Value) {
    let start = partial["start_ms"].as_u64().unwrap();
    for line in transcript["lines"].as_array().unwrap() {
        let end = line["end_ms"].as_u64().unwrap();
        assert!(start + 1 >= end, "{partial} beside its line {line}");
    }
}

/// Checks that words which were stable in a partial stayed in the later ones.
fn check_growth(seen: &BTreeMap<u64, Value>) {
    let mut sentences: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for partial in seen.values() {
        let words: Vec<_> = partial["text"].as_str().unwrap().split(' ').collect();
        let stable = usize::try_from(partial["stable_words"].as_u64().unwrap()).unwrap();
        let before = sentences
            .entry(partial["start_ms"].as_u64().unwrap())
            .or_default();
        assert!(
            words.starts_with(before),
            "{before:?} did not stay in {partial}"
        );
        *before = words[..stable].to_vec();
    }
    assert_eq!(sentences.len(), MONOLOGUE.len(), "{seen:?}");
}

/// The begins of words within their sentence; where in the call a sentence was played is not
/// known to the millisecond, so each counts from its own median.
fn time_errors(transcript: &Value) -> Errors {
    let truth = truth();
    let mut errors = Vec::new();
    let lines = transcript["lines"].as_array().unwrap();
    for (line, turn) in lines.iter().zip(&MONOLOGUE) {
        let said = &truth[turn.prompt];
        let words = line["words"].as_array().unwrap();
        if words.len() != said.len() {
            continue;
        }
        let off =
            |(word, (_, said)): (&Value, &(String, i64))| word["start_ms"].as_i64().unwrap() - said;
        let mut offs: Vec<_> = words.iter().zip(said).map(off).collect();
        offs.sort_unstable();
        let median = offs[offs.len() / 2];
        errors.extend(offs.into_iter().map(|off| off - median));
    }
    Errors::new(errors)
}
