//! Messages as Asterisk sends them, and odd ones.

use super::*;

#[test]
fn known_events_are_read() {
    let start = AriEvent::parse(
        r#"{"type":"StasisStart","args":["tok123"],"channel":{"id":"em-1","name":"UnicastRTP/x","state":"Up"},"application":"lab"}"#,
    );
    let Ok(AriEvent::StasisStart { channel, args, .. }) = start else {
        panic!("{start:?}")
    };
    assert_eq!(
        (channel.id.as_str(), args),
        ("em-1", vec!["tok123".to_owned()])
    );
    assert!(channel.is_media() && channel.is_up());

    let gone = AriEvent::parse(
        r#"{"type":"ChannelDestroyed","cause":17,"cause_txt":"User busy","channel":{"id":"c"}}"#,
    );
    assert!(
        matches!(gone, Ok(AriEvent::ChannelDestroyed { cause: Some(17), cause_txt, .. }) if cause_txt == "User busy")
    );

    let asked = AriEvent::parse(r#"{"type":"ChannelHangupRequest","channel":{"id":"c"}}"#);
    assert!(matches!(
        asked,
        Ok(AriEvent::ChannelHangupRequest {
            cause: None,
            soft: false,
            ..
        })
    ));

    for (soft, expected) in [("true", None), ("false", Some(32)), ("null", Some(32))] {
        let text = format!(
            r#"{{"type":"ChannelHangupRequest","cause":32,"soft":{soft},"channel":{{"id":"c"}}}}"#
        );
        assert!(
            matches!(AriEvent::parse(&text), Ok(AriEvent::ChannelHangupRequest { cause, .. }) if cause == expected),
            "{text}"
        );
    }

    let key = AriEvent::parse(
        r#"{"type":"ChannelDtmfReceived","digit":"5","duration_ms":280,"channel":{"id":"c"}}"#,
    );
    assert!(matches!(
        key,
        Ok(AriEvent::ChannelDtmfReceived {
            digit: '5',
            duration_ms: 280,
            ..
        })
    ));
}

#[test]
fn hold_and_transfers_are_read() {
    for kind in ["ChannelHold", "ChannelUnhold", "ChannelConnectedLine"] {
        let text = format!(r#"{{"type":"{kind}","musicclass":"default","channel":{{"id":"c"}}}}"#);
        assert_eq!(AriEvent::parse(&text).unwrap().kind(), kind);
        let text = format!(r#"{{"type":"{kind}"}}"#);
        assert!(AriEvent::parse(&text).is_err(), "{kind}");
    }
    let entered = r#"{"type":"ChannelEnteredBridge","bridge":{"id":"b","channels":["c","d"]},"channel":{"id":"c"}}"#;
    assert!(matches!(
        AriEvent::parse(entered).unwrap(),
        AriEvent::ChannelEnteredBridge { channel, bridge, members }
            if channel.id == "c" && bridge == "b" && members == ["c", "d"]
    ));
    let left =
        r#"{"type":"ChannelLeftBridge","bridge":{"id":"b","channels":["d"]},"channel":{"id":"c"}}"#;
    assert!(matches!(
        AriEvent::parse(left).unwrap(),
        AriEvent::ChannelLeftBridge { channel, bridge, members }
            if channel.id == "c" && bridge == "b" && members == ["d"]
    ));
    for kind in ["ChannelEnteredBridge", "ChannelLeftBridge"] {
        let nobody = format!(r#"{{"type":"{kind}","bridge":{{"id":"b"}}}}"#);
        assert!(matches!(
            AriEvent::parse(&nobody),
            Ok(AriEvent::Other { .. })
        ));
    }
    let attended = r#"{"type":"BridgeAttendedTransfer","result":"Success","transferee":{"id":"c"},
        "transferer_first_leg":{"id":"a"},"transferer_second_leg":{"id":"b"},"transfer_target":{"id":""}}"#;
    assert!(matches!(
        AriEvent::parse(attended).unwrap(),
        AriEvent::Transfer { kind: "BridgeAttendedTransfer", channels } if channels == ["c", "a", "b"]
    ));
    let failed = r#"{"type":"BridgeBlindTransfer","result":"Fail","channel":{"id":"c"}}"#;
    assert!(
        matches!(AriEvent::parse(failed), Ok(AriEvent::Other { kind, .. }) if kind == "BridgeBlindTransfer")
    );
}

#[test]
fn the_time_of_an_event_is_read_where_it_can_be() {
    let at = |timestamp: Value| {
        let event = serde_json::json!({
            "type": "ChannelDtmfReceived", "digit": "5", "timestamp": timestamp, "channel": { "id": "c" }
        });
        AriEvent::parse(&event.to_string()).unwrap().timestamp()
    };
    let expected: Timestamp = "2026-01-12T09:30:00.25Z".parse().unwrap();
    assert_eq!(at("2026-01-12T10:30:00.250+0100".into()), Some(expected));
    let odd = ["", "soon", "2026-02-30T10:30:00.250+0100"].map(Value::from);
    for odd in odd.into_iter().chain([Value::Null, 5.into()]) {
        assert_eq!(at(odd.clone()), None, "{odd}");
    }
}

#[test]
fn unknown_events_are_kept_whole() {
    let text = r#"{"type":"PeerStatusChange","peer":{"x":1}}"#;
    let Ok(AriEvent::Other { kind, raw }) = AriEvent::parse(text) else {
        panic!()
    };
    assert_eq!(kind, "PeerStatusChange");
    assert_eq!(raw, serde_json::from_str::<Value>(text).unwrap());
}

#[test]
fn what_is_no_event_says_why() {
    assert!(matches!(AriEvent::parse("{"), Err(EventError::NotJson(_))));
    assert!(matches!(
        AriEvent::parse(&"[".repeat(100_000)),
        Err(EventError::NotJson(_))
    ));
    for untyped in ["[]", "1", "null", "{}", r#"{"type":1}"#, r#"{"type":""}"#] {
        assert_eq!(
            AriEvent::parse(untyped),
            Err(EventError::Untyped),
            "{untyped}"
        );
    }
    for idless in [
        "{}",
        r#"{"channel":null}"#,
        r#"{"channel":{"id":""}}"#,
        r#"{"channel":{"id":5}}"#,
    ] {
        let text = idless
            .replacen('{', r#"{"type":"StasisEnd","#, 1)
            .replace(",}", "}");
        let error = AriEvent::parse(&text).unwrap_err();
        assert_eq!(
            error,
            EventError::Missing {
                kind: "StasisEnd",
                field: "channel.id"
            },
            "{text}"
        );
    }
    let wrong =
        AriEvent::parse(r#"{"type":"ChannelDtmfReceived","digit":"é","channel":{"id":"c"}}"#);
    assert!(matches!(
        wrong,
        Err(EventError::Missing { field: "digit", .. })
    ));
}
