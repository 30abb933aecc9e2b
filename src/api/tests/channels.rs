//! Channels, by whatever they are called.

use super::*;

#[tokio::test]
async fn any_channel_is_tapped_by_its_id_or_name_in_the_path_or_in_the_body() {
    let service = Arc::new(Fake::well());
    let router = router(service.clone(), &config());
    for (channel, encoded) in [
        ("1764000000.12;2", "1764000000.12%3B2"),
        ("1764000000.12;2", "1764000000.12;2"),
        ("lead 42", "lead%2042"),
        ("Günther", "G%C3%BCnther"),
        ("PJSIP/100-00000001", "PJSIP%2F100-00000001"),
        ("../status", "..%2Fstatus"),
        ("a+b%20c", "a+b%2520c"),
    ] {
        let path = format!("/api/call/{encoded}/transcribe");
        let by_path = post(&router, &path).await;
        let body = serde_json::json!({ "channel": channel });
        let by_body = post_json(&router, "/api/call/transcribe", body.to_string()).await;
        for answer in [by_path, by_body] {
            assert_eq!(answer.status, 202, "{channel}: {}", answer.text);
            // Its call may be called otherwise.
            let call: Value = serde_json::from_str(&answer.text).unwrap();
            assert_eq!(call["call_id"], "made-from-it");
            let location = "/api/call/made-from-it/status";
            assert_eq!(answer.headers[header::LOCATION], location);
        }
        let asked = service.asked();
        let wanted = format!("transcribe {channel}");
        assert_eq!(asked[asked.len() - 2..], [wanted.clone(), wanted]);
    }
}

#[tokio::test]
async fn what_no_channel_can_be_called_is_refused() {
    let service = Arc::new(Fake::well());
    let router = router(service.clone(), &config());
    let long = "a".repeat(151);
    for id in ["%00", "a%0d%0aX:%20y", "%ff", "%c2%85", &long] {
        let path = format!("/api/call/{id}/transcribe");
        post(&router, &path).await.is_problem(400, "malformed-id");
    }
    for body in [
        r#"{"channel":""}"#,
        r#"{"channel":5}"#,
        r#"{"channel":"a\u0000b"}"#,
        r#"{"recognition":{}}"#,
        r#"{"channel":"a","peer":"b"}"#,
        r#"{"channel":"a","legs":{"channel":"agent"}}"#,
        r#"{"channel":"a","legs":{"channel":"agent","peer":"a b"}}"#,
    ] {
        let answer = post_json(&router, "/api/call/transcribe", body).await;
        answer.is_problem(422, "invalid-body");
    }
    let named = r#"{"channel":"a b","legs":{"channel":"agent","peer":"customer"}}"#;
    let answer = post_json(&router, "/api/call/transcribe", named).await;
    assert_eq!(answer.status, 202);
    assert_eq!(service.asked(), ["transcribe a b agent and customer"]);
}
