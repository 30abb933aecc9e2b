//! N7, N8, N9: packet times and lengths, payload types that change, silence.

use std::time::Duration;

use asterscribe_call::GapReason;
use asterscribe_codecs::AudioDecoder;
use asterscribe_codecs::g711::{encode_alaw, encode_ulaw};
use asterscribe_rtp::testkit::netem::{LossModel, NetemConfig};

use crate::oracle::Oracle;
use crate::rig::{Format, PER_MS, Script, hear, hear_everything, noise, perfect, through};
use crate::table::Row;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows: Vec<_> = [10, 20, 30, 40, 60, 120].map(packet_time).into();
    rows.push(changing_packet_times());
    rows.push(odd_lengths());
    rows.push(every_payload_type());
    rows.extend(not_audio());
    rows.push(keys());
    rows.extend(silences());
    rows
}

fn packet_time(millis: u64) -> Row {
    let case = format!("packets of {millis} ms, ulaw and slin16");
    for format in [Format::Slin16, Format::Ulaw] {
        let script = Script::new(format).speak(300, millis);
        exact(&script, &case);
    }
    Row::new("N7", case, "exact to the sample")
}

fn changing_packet_times() -> Row {
    let case = "the packet time changes mid-call, 10 to 120 ms and back";
    for format in [Format::Slin16, Format::Ulaw] {
        let mut script = Script::new(format);
        for millis in [20, 10, 60, 30, 120, 40, 20, 10, 120] {
            script = script.speak(20, millis);
        }
        exact(&script, case);
    }
    Row::new("N7", case, "exact to the sample")
}

fn odd_lengths() -> Row {
    let case = "ulaw packets of 1 to 1,400 bytes, each length once";
    let mut script = Script::new(Format::Ulaw);
    for bytes in 1..=1_400 {
        script.packet(bytes * 2);
        script.at += Duration::from_micros(bytes * 125);
    }
    exact(&script, case);
    Row::new("N7", case, "exact to the sample")
}

/// Checks that the output equals the decoder's for the whole stream in one piece.
fn exact(script: &Script, case: &str) {
    let arrivals = perfect(&script.sent);
    let heard = hear(&arrivals, hear_everything());
    assert_eq!(heard.stats.decoded, script.sent.len() as u64, "{case}");
    assert_eq!(heard.audio.span, script.position, "{case}");
    assert_eq!(heard.audio.gaps.total(), 0, "{case}: {:?}", heard.audio);
    if script.format == Format::Slin16 {
        Oracle::new(&script.sent, &arrivals).check(&heard, case);
        return;
    }
    let whole: Vec<u8> = (0..script.position)
        .step_by(2)
        .map(|at| encode_ulaw(noise(at)))
        .collect();
    let mut expected = Vec::new();
    let mut decoder = AudioDecoder::new();
    decoder.decode(0, &whole, &mut expected).unwrap();
    decoder.flush(&mut expected);
    let expected: Vec<_> = expected
        .iter()
        .map(|sample| Some((sample * 32_768.0).round() as i16))
        .collect();
    assert_eq!(heard.samples, expected, "{case}");
}

/// A transfer may change the codec with every packet.
fn every_payload_type() -> Row {
    let case = "payload types 0, 8, 10, 11, 118 in turns, each for 1 s, twice over";
    let mut script = Script::new(Format::Ulaw);
    for payload_type in [0, 8, 10, 11, 118, 0, 8, 10, 11, 118] {
        script.format = if payload_type == 118 {
            Format::Slin16
        } else {
            Format::Ulaw
        };
        for _ in 0..50 {
            let (begin, end) = (script.position, script.position + 320);
            let narrow = (begin..end).step_by(2).map(noise);
            let payload: Vec<u8> = match payload_type {
                0 => narrow.map(encode_ulaw).collect(),
                8 => narrow.map(encode_alaw).collect(),
                10 | 11 => narrow.flat_map(i16::to_be_bytes).collect(),
                _ => (begin..end).map(noise).flat_map(i16::to_be_bytes).collect(),
            };
            script.raw(payload_type, &payload, (begin, end), None);
            script.position = end;
            script.at += Duration::from_millis(20);
        }
    }
    let heard = hear(&perfect(&script.sent), hear_everything());
    assert!(heard.audio.is_conserved());
    assert_eq!(heard.stats.decoded, 500, "{:?}", heard.stats);
    assert_eq!(
        (heard.audio.span, heard.audio.gaps.total()),
        (script.position, 0)
    );
    // Linear audio at 16 kHz goes through untouched, and so tells the place.
    for (begin, end) in [(64_000, 80_000), (144_000, 160_000)] {
        for at in begin..end {
            assert_eq!(
                heard.samples[at as usize],
                Some(noise(at)),
                "{case}: sample {at}"
            );
        }
    }
    Row::new(
        "N8",
        case,
        "every packet by its own decoder, no time added at a change",
    )
}

fn not_audio() -> Vec<Row> {
    let mut rows = Vec::new();
    for (payload_type, reason, name) in [
        (
            77,
            GapReason::UnknownPayload,
            "an unknown payload type (77)",
        ),
        (13, GapReason::SenderSilence, "comfort noise (13)"),
        (19, GapReason::SenderSilence, "comfort noise (19)"),
        (101, GapReason::SenderSilence, "telephone events (101)"),
        (121, GapReason::SenderSilence, "Cisco's DTMF (121)"),
    ] {
        let mut script = Script::new(Format::Slin16).speak(50, 20);
        for _ in 0..10 {
            let span = (script.position, script.position + 320);
            script.raw(payload_type, &[1, 2, 3, 4], span, Some(reason));
            script.position += 320;
            script.at += Duration::from_millis(20);
        }
        let script = script.speak(50, 20);
        let arrivals = perfect(&script.sent);
        let heard = hear(&arrivals, hear_everything());
        let case = format!("{name} in the middle for 200 ms");
        Oracle::new(&script.sent, &arrivals).check(&heard, &case);
        let named = match reason {
            GapReason::UnknownPayload => "`unknown_payload`",
            _ => "`sender_silence`",
        };
        rows.push(Row::new(
            "N8",
            case,
            format!("200 ms of {named}, never decoded as audio"),
        ));
    }
    let mut script = Script::new(Format::Slin16).speak(50, 20);
    let span = (script.position, script.position + 320);
    script.raw(118, &[1, 2, 3], span, Some(GapReason::DecodeError));
    script.position += 320;
    script.at += Duration::from_millis(20);
    let script = script.speak(50, 20);
    let arrivals = perfect(&script.sent);
    let case = "half a sample: a slin16 packet of 3 bytes";
    Oracle::new(&script.sent, &arrivals).check(&hear(&arrivals, hear_everything()), case);
    rows.push(Row::new("N8", case, "20 ms of `decode_error`"));
    rows
}

/// Four keys as telephone events: an update every 20 ms, the end three times.
fn keys() -> Row {
    let case = "the keys 1, 5, 5 and # as telephone events, ends sent three times, 30 % of the packets lost";
    let mut script = Script::new(Format::Slin16).speak(50, 20);
    for event in [1, 5, 5, 11] {
        let (begin, began) = (script.position, script.at);
        for update in 1..=13u16 {
            let is_end = update > 10;
            let length = update.min(10) * 160;
            let payload = [
                &[event, u8::from(is_end) << 7 | 10][..],
                &length.to_be_bytes(),
            ]
            .concat();
            script.marker = update == 1;
            script.raw(
                101,
                &payload,
                (begin, begin),
                Some(GapReason::SenderSilence),
            );
            script.at += Duration::from_millis(if is_end { 0 } else { 20 });
        }
        script.at = began;
        script = script.pause(300, false).speak(50, 20);
    }
    let expected = [('1', 200), ('5', 200), ('5', 200), ('#', 200)];
    let heard = hear(&perfect(&script.sent), hear_everything());
    assert_eq!(heard.keys, expected, "{case}");
    let loss = NetemConfig {
        loss: LossModel::Uniform(0.3),
        ..NetemConfig::default()
    };
    for seed in 0..10 {
        let heard = hear(&through(&script.sent, loss, seed), hear_everything());
        let pressed: Vec<_> = heard.keys.iter().map(|(key, _)| *key).collect();
        assert_eq!(pressed, ['1', '5', '5', '#'], "{case}, seed {seed}");
        assert!(heard.audio.is_conserved());
    }
    Row::new(
        "N8",
        case,
        "each said once, in order, in all of 10 runs; never heard as audio",
    )
}

fn silences() -> Vec<Row> {
    let mut rows = Vec::new();
    for (millis, name) in [
        (100, "0.1 s"),
        (400, "0.4 s"),
        (1_000, "1 s"),
        (10_000, "10 s"),
        (600_000, "10 min"),
    ] {
        for marker in [true, false] {
            let script = Script::new(Format::Slin16)
                .speak(100, 20)
                .pause(millis, marker)
                .speak(100, 20);
            let arrivals = perfect(&script.sent);
            let heard = hear(&arrivals, hear_everything());
            let with = if marker { "with" } else { "without" };
            let case = format!("the sender is silent for {name}, then goes on {with} a marker");
            Oracle::new(&script.sent, &arrivals).check(&heard, &case);
            assert_eq!(heard.audio.gaps.sender_silence, millis * PER_MS, "{case}");
            rows.push(Row::new(
                "N9",
                case,
                format!("{millis} ms of `sender_silence`, none of `net_loss`"),
            ));
        }
    }
    rows
}

#[test]
fn every_length_and_every_payload_is_what_it_is() {
    rows();
}
