//! The benches of recognition measure, lose nothing, and would say so if they did. How fast
//! anything was is not looked at.

use std::time::Duration;

use asterscribe_testkit::server::Server;
use serde_json::Value;

use crate::{BINARY, alone};

/// Time for the bench: it takes half a minute where nothing else runs.
const LIMIT: Duration = Duration::from_secs(300);

/// Exit status of a run that lost something.
const DISQUALIFIED: i32 = 3;

fn run(arguments: &[&str]) -> (Option<i32>, Value) {
    let _alone = alone();
    let ended = Server::run_to_end(BINARY, arguments, &[], LIMIT);
    let (status, output) = ended.expect("a bench ends by itself");
    let start = output.find("{\n").unwrap_or_else(|| panic!("{output}"));
    let report = serde_json::from_str(&output[start..]).expect("its report is JSON");
    (status.code(), report)
}

#[test]
fn a_quick_run_of_speech_recognises_every_utterance_in_every_shape() {
    // Whatever is installed here: the baseline is this program's own engine, and says so.
    let none = "/nonexistent/whisper-cli";
    let arguments = ["speech", "--quick", "--format", "json"];
    let (status, report) = run(&[&arguments[..], &["--whisper-cli", none]].concat());
    assert_eq!(report["disqualified"].as_array().unwrap().len(), 0);
    assert_eq!(status, Some(0));
    let why = report["baseline"]["engine"]["why"].as_str().unwrap();
    assert!(why.contains(none), "{why}");

    let round = &report["rounds"][0];
    let texts = |shape: &str| round[shape]["texts"].as_array().unwrap().len();
    for shape in [
        "service_clips",
        "bare_clips",
        "service_live",
        "service_backlog",
    ] {
        let spent = |of: &str| round[shape][of].as_u64().unwrap();
        assert!(spent("own_ns") + spent("workers_ns") > 0, "{shape}");
        assert!(texts(shape) > 0, "{shape}");
    }
    assert_eq!(texts("service_clips"), texts("bare_clips"));
    // The same utterances, whether cut out beforehand or by the session.
    assert_eq!(texts("service_live"), texts("bare_fitted"));
    assert_eq!(texts("service_live"), texts("service_backlog"));
    assert_eq!(
        round["service_live"]["texts"],
        round["bare_fitted"]["texts"]
    );
    assert_eq!(
        round["service_clips"]["texts"],
        round["bare_clips"]["texts"]
    );
}

#[test]
fn a_quick_run_of_calls_has_their_lines_and_says_what_it_held() {
    let (status, report) = run(&["calls", "--quick", "--format", "json"]);
    let probe = &report["probes"][0];
    assert!(probe["lines"].as_u64().unwrap() > 0, "{probe}");
    // A busy machine may be too slow even for a few calls; then nothing is claimed.
    let sizing = report["sizing"].as_str().unwrap();
    if report["held"].is_null() {
        assert_eq!(status, Some(DISQUALIFIED));
        assert!(sizing.starts_with("DISQUALIFIED"), "{sizing}");
    } else {
        assert_eq!(status, Some(0));
        assert_eq!(probe["faults"].as_array().unwrap().len(), 0, "{probe}");
        assert!(sizing.starts_with("Sizing:"), "{sizing}");
    }
}
