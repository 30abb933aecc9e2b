//! `asterscribe-bench media`: it measures, keeps its counters, and would report if they did not
//! balance. How fast anything was is not tested.

use std::collections::BTreeSet;
use std::time::Duration;

use asterscribe_testkit::server::Server;
use serde_json::Value;

use crate::{BINARY, alone};

/// Time for the bench: it takes half a minute where nothing else runs.
const LIMIT: Duration = Duration::from_secs(300);

/// Exit status of a run that lost a packet.
const DISQUALIFIED: i32 = 3;

/// Subjects that need nothing but this program.
const OURS: [&str; 3] = ["sink", "ordered", "speech"];

#[test]
fn a_quick_run_measures_and_every_packet_is_accounted_for() {
    let _alone = alone();
    let arguments = ["media", "--quick", "--format", "json"];
    let (status, output) = Server::run_to_end(BINARY, &arguments, &[], LIMIT).unwrap();
    let start = output.find("{\n").unwrap_or_else(|| panic!("{output}"));
    let report: Value = serde_json::from_str(&output[start..]).unwrap();

    let rounds = report["rounds"].as_array().unwrap();
    let mut subjects = BTreeSet::new();
    for round in rounds {
        let subject = round["case"]["subject"].as_str().unwrap();
        subjects.insert(subject);
        let count = |field: &str| round[field].as_u64().unwrap();
        assert!(count("sent") > 0 && count("cpu_ns") > 0, "{round}");
        // A busy machine may make the kernel drop datagrams. What has been
        // received must be in the books all the same.
        if OURS.contains(&subject) && count("received") == count("sent") {
            assert_eq!(round["faults"].as_array().unwrap().len(), 0, "{round}");
        }
    }
    for subject in OURS {
        assert!(subjects.contains(subject), "no round of {subject}");
    }
    let missing = report["not_run"].as_array().unwrap();
    assert!(
        subjects.len() + missing.len() >= 6,
        "{subjects:?} {missing:?}"
    );

    let disqualified = report["disqualified"].as_array().unwrap();
    let expected = if disqualified.is_empty() {
        0
    } else {
        DISQUALIFIED
    };
    assert_eq!(status.code(), Some(expected), "{disqualified:?}");
}
