//! Contract C1, checked on what a server or a replay tells: every moment of a
//! leg's audio is accounted for, once and with a reason. The one assertion that
//! every test with media shares.

use serde_json::Value;

/// A packet of 20 ms, in samples of 16,000 per second: how far two independent counts may be apart.
const PACKET: i64 = 320;

/// Samples per millisecond.
const PER_MS: i64 = 16;

/// Reasons why audio may have no text; no others may be reported.
const REASONS: [&str; 10] = [
    "net_loss",
    "late",
    "sender_silence",
    "unknown_payload",
    "decode_error",
    "overload_shed",
    "spooled",
    "recognition_failed",
    "node_crash",
    "discontinuity",
];

/// Further reasons, reported only where there is such audio.
const RARE: [&str; 1] = ["on_hold"];

/// Checks a leg as `status` or a replay's report has it (`stats` and `audio`).
///
/// # Errors
/// The sums that do not add up, in words.
pub fn check_leg(leg: &Value, is_over: bool) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {leg}"));
    let audio = &leg["audio"];
    let number = |value: &Value| value.as_i64().ok_or_else(|| format!("no number in {leg}"));
    let gaps = audio["gaps"]
        .as_object()
        .ok_or_else(|| format!("no gaps in {leg}"))?;
    let rare: Vec<&str> = RARE
        .into_iter()
        .filter(|reason| gaps.contains_key(*reason))
        .collect();
    if gaps.len() != REASONS.len() + rare.len() {
        return wrong("another set of reasons");
    }
    let mut without_text = 0;
    for reason in rare {
        without_text += number(&audio["gaps"][reason])?;
    }
    for reason in REASONS {
        without_text += number(&audio["gaps"][reason])?;
    }
    let span = number(&audio["span"])?;
    let pending = number(&audio["pending"])?;
    let sum =
        number(&audio["transcribed"])? + number(&audio["non_speech"])? + pending + without_text;
    if span != sum {
        return wrong("the account does not add up");
    }
    if is_over && pending != 0 {
        return wrong("audio is undecided after the end");
    }
    // Counted apart from the account, packet by packet; what follows is in no packet.
    let stats = &leg["stats"];
    let counted =
        number(&stats["audio_ms"])? + number(&stats["lost_ms"])? + number(&stats["silent_ms"])?;
    let beside: i64 = ["node_crash", "discontinuity", "decode_error"]
        .iter()
        .map(|reason| audio["gaps"][reason].as_i64().unwrap_or(0))
        .sum();
    let rounding = 4 * PER_MS;
    let residual = span - counted * PER_MS;
    if residual < -PACKET - rounding || residual > PACKET + rounding + beside {
        return wrong(&format!("span and packets are {residual} samples apart"));
    }
    Ok(())
}

/// Checks every leg of a call's record.
///
/// # Panics
/// When something does not add up.
#[track_caller]
pub fn assert_conserved(record: &Value) {
    let is_over = matches!(record["status"].as_str(), Some("ended" | "failed"));
    for leg in record["legs"].as_array().map_or(&[][..], Vec::as_slice) {
        if let Err(wrong) = check_leg(leg, is_over) {
            panic!("C1 is broken: {wrong}");
        }
    }
}

/// Checks every flow of a replay's report.
///
/// # Panics
/// When something does not add up.
#[track_caller]
pub fn assert_flows_conserved(report: &Value) {
    for flow in report["flows"].as_array().map_or(&[][..], Vec::as_slice) {
        if let Err(wrong) = check_leg(flow, true) {
            panic!("C1 is broken: {wrong}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn leg() -> Value {
        json!({
            "stats": {"audio_ms": 40, "lost_ms": 20, "silent_ms": 0},
            "audio": {
                "start": 0, "span": 960, "transcribed": 320, "non_speech": 300, "pending": 20,
                "gaps": {
                    "net_loss": 320, "late": 0, "sender_silence": 0, "unknown_payload": 0, "decode_error": 0,
                    "overload_shed": 0, "spooled": 0, "recognition_failed": 0, "node_crash": 0, "discontinuity": 0,
                },
            },
        })
    }

    #[test]
    fn what_adds_up_passes_and_nothing_else() {
        assert_eq!(check_leg(&leg(), false), Ok(()));
        assert!(check_leg(&leg(), true).is_err(), "pending at the end");
        let damages: [(&str, Value); 4] = [
            ("/audio/span", json!(961)),
            ("/audio/gaps/late", json!(1)),
            ("/audio/gaps", json!({})),
            ("/stats/audio_ms", json!(400)),
        ];
        for (place, value) in damages {
            let mut leg = leg();
            *leg.pointer_mut(place).unwrap() = value;
            assert!(check_leg(&leg, false).is_err(), "{place}");
        }
    }
}
