//! N6, N8: senders that number, stamp or extend their packets in a way of their own.

use asterscribe_call::GapReason;
use asterscribe_rtp::testkit::netem::{LossModel, NetemConfig};

use crate::oracle::Oracle;
use crate::rig::{Format, Heard, PER_MS, Script, hear, hear_everything, perfect, through};
use crate::table::Row;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows: Vec<_> = [1, 30, 500, 2_998, -1, -3, -60, -99, -200]
        .map(numbers_step)
        .into();
    rows.push(steps_and_losses());
    rows.extend([Empty::BeforeItsNumber, Empty::Padded, Empty::OfItsOwn].map(empty));
    rows.push(extensions());
    rows.push(keys_of_any_type());
    rows.extend([Stamps::EachNew, Stamps::AllSame].map(keys_stamped));
    rows.push(keys_beside_steps());
    rows
}

/// Twelve times, at the beginning, in the middle and at the end, and across the wrap.
fn numbers_step(by: i16) -> Row {
    let mut script = Script::new(Format::Slin16).speak(3, 20);
    for _ in 0..12 {
        script.seq = script.seq.wrapping_add_signed(by);
        script = script.speak(25, 20);
    }
    script.seq = script.seq.wrapping_add_signed(by);
    let script = script.speak(3, 20);
    let case = format!("the sequence steps by {by} thirteen times, nothing is missing");
    let heard = hear(&perfect(&script.sent), hear_everything());
    nothing_missing(&heard, &script, &case);
    Row::new("N6", case, "nothing lost, nothing refused, no time added")
}

#[track_caller]
fn nothing_missing(heard: &Heard, script: &Script, case: &str) {
    Oracle::new(&script.sent, &perfect(&script.sent)).check(heard, case);
    assert_eq!(heard.audio.gaps.total(), 0, "{case}");
    let stats = &heard.stats;
    let refused = stats.duplicate + stats.too_old + stats.sequence_jump + stats.decode_errors;
    assert_eq!(refused, 0, "{case}: {stats:?}");
    assert_eq!(heard.loss, 0.0, "{case}");
    assert!(heard.mos > 4.3, "{case}: {}", heard.mos);
}

fn steps_and_losses() -> Row {
    let case = "the sequence steps by 500 every second, and 5 % of the packets are lost";
    let loss = NetemConfig {
        loss: LossModel::Uniform(0.05),
        ..NetemConfig::default()
    };
    let mut script = Script::new(Format::Slin16).speak(50, 20);
    for _ in 0..20 {
        script.seq = script.seq.wrapping_add(500);
        script = script.speak(50, 20);
    }
    let mut lost = 0;
    for seed in 0..10 {
        let arrivals = through(&script.sent, loss, seed);
        let oracle = Oracle::new(&script.sent, &arrivals);
        oracle.check(&hear(&arrivals, hear_everything()), case);
        lost += oracle.lost;
    }
    Row::new(
        "N6",
        case,
        format!("{lost} packets lost in 10 runs, each reported as `net_loss`, and no more"),
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Empty {
    BeforeItsNumber,
    Padded,
    OfItsOwn,
}

/// Every half second a packet without a payload.
fn empty(kind: Empty) -> Row {
    let mut script = Script::new(Format::Slin16);
    for _ in 0..20 {
        script = script.speak(25, 20);
        let place = (script.position, script.position);
        script.raw(118, &[], place, None);
        if kind == Empty::Padded {
            let sent = script.sent.last_mut().unwrap();
            sent.bytes[0] |= 0x20;
            sent.bytes.extend([0, 0, 0, 4]);
        }
        if kind != Empty::OfItsOwn {
            script.seq = script.seq.wrapping_sub(1);
        }
    }
    let script = script.speak(25, 20);
    let case = match kind {
        Empty::BeforeItsNumber => "every 0.5 s an empty packet with the number of the next",
        Empty::Padded => "the same, with padding for a payload",
        Empty::OfItsOwn => "every 0.5 s an empty packet with a number of its own",
    };
    let heard = hear(&perfect(&script.sent), hear_everything());
    nothing_missing(&heard, &script, case);
    assert_eq!(heard.stats.not_audio, 20, "{case}");
    Row::new("N6", case, "nothing lost, every sample at its place")
}

/// Header extensions of all kinds (RFC 3550 §5.3.1): their contents must not change what is made of
/// the packet.
fn extensions() -> Row {
    let case =
        "header extensions with id 15, with elements that run past their end, of unknown profiles";
    let bodies: [(u16, [u8; 8]); 6] = [
        (0xBEDE, [0x10, 0x55, 0xF0, 0, 0, 0, 0, 0]),
        (0xBEDE, [0xFF, 1, 2, 3, 4, 5, 6, 7]),
        (0xBEDE, [0x1F, 0, 0, 0, 0, 0, 0, 0]),
        (0x1000, [1, 200, 0, 0, 0, 0, 0, 9]),
        (0x1005, [15, 255, 3, 3, 3, 3, 3, 3]),
        (0x4711, [0xFF; 8]),
    ];
    let mut script = Script::new(Format::Slin16).speak(200, 20);
    for (packet, (profile, body)) in script.sent.iter_mut().zip(bodies.iter().cycle()) {
        packet.bytes[0] |= 0x10;
        let extension = [&profile.to_be_bytes()[..], &[0, 2], body].concat();
        packet.bytes.splice(12..12, extension);
    }
    let heard = hear(&perfect(&script.sent), hear_everything());
    nothing_missing(&heard, &script, case);
    assert_eq!(heard.stats.malformed, 0, "{case}");
    Row::new("N12", case, "every packet heard")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stamps {
    Right,
    EachNew,
    AllSame,
}

/// Presses keys of 200 ms each, with a pause of 100 ms and speech of 1 s behind them.
fn press(mut script: Script, keys: &[u8], payload_type: u8, stamps: Stamps) -> Script {
    let first = script.position;
    for event in keys {
        let (begin, began) = (script.position, script.at);
        for update in 1..=13u64 {
            let is_end = update > 10;
            let length = (update.min(10) * 160) as u16;
            let flags = u8::from(is_end) << 7 | 10;
            let payload = [&[*event, flags][..], &length.to_be_bytes()].concat();
            script.marker = update == 1;
            let place = match stamps {
                Stamps::Right => begin,
                Stamps::EachNew => begin + (update - 1) * 320,
                Stamps::AllSame => first,
            };
            let reason = Some(GapReason::SenderSilence);
            script.raw(payload_type, &payload, (place, place), reason);
            script.at += std::time::Duration::from_millis(if is_end { 0 } else { 20 });
        }
        script.at = began;
        script = script.pause(300, false);
    }
    script.speak(50, 20)
}

#[track_caller]
fn said_once(heard: &Heard, keys: &str, pauses: u64, case: &str) {
    let said: String = heard.keys.iter().map(|(key, _)| *key).collect();
    assert_eq!(said, keys, "{case}");
    assert!(heard.audio.is_conserved(), "{case}");
    let gaps = heard.audio.gaps;
    assert_eq!(
        gaps.sender_silence,
        pauses * 300 * PER_MS,
        "{case}: {gaps:?}"
    );
    assert_eq!(gaps.total(), gaps.sender_silence, "{case}: {gaps:?}");
    let stats = &heard.stats;
    let refused = stats.unknown_payload + stats.decode_errors + stats.duplicate;
    assert_eq!(refused, 0, "{case}: {stats:?}");
}

fn keys_of_any_type() -> Row {
    let case = "the keys 0 to 9 as telephone events of each payload type from 96 to 127 but that of the audio";
    for payload_type in (96..=127).filter(|number| *number != 118) {
        let script = Script::new(Format::Slin16).speak(50, 20);
        let keys: Vec<_> = (0..10).collect();
        let script = press(script, &keys, payload_type, Stamps::Right);
        let heard = hear(&perfect(&script.sent), hear_everything());
        let what = format!("{case}, {payload_type}");
        said_once(&heard, "0123456789", 10, &what);
        assert_eq!(heard.stats.not_audio, 130, "{what}");
        Oracle::new(&script.sent, &perfect(&script.sent)).check_samples(&heard, &what);
    }
    Row::new("N8", case, "each said once; never heard as audio")
}

fn keys_stamped(stamps: Stamps) -> Row {
    let keys = [1, 5, 5, 11, 5];
    for payload_type in [101, 126] {
        let script = Script::new(Format::Slin16).speak(50, 20);
        let script = press(script, &keys, payload_type, stamps);
        let heard = hear(&perfect(&script.sent), hear_everything());
        said_once(&heard, "155#5", 5, &format!("{stamps:?} {payload_type}"));
    }
    let case = match stamps {
        Stamps::EachNew => "the keys 1, 5, 5, # and 5, a new timestamp for each of their packets",
        Stamps::AllSame => "the same keys, all with the timestamp of the first",
        Stamps::Right => "the same keys",
    };
    Row::new("N8", case, "each said once; never heard as audio")
}

/// The numbers step back within each key.
fn keys_beside_steps() -> Row {
    let case = "the keys 1, 5, 5, # and 5, and the sequence steps back by 60 within each";
    let script = Script::new(Format::Slin16).speak(50, 20);
    let mut script = press(script, &[1, 5, 5, 11, 5], 101, Stamps::Right);
    let keys = script.sent.iter_mut().filter(|sent| sent.begin == sent.end);
    let steps = keys.enumerate().filter(|(n, _)| n % 13 == 5);
    let steps: Vec<_> = steps.map(|(_, sent)| sent.bytes[2..4].to_vec()).collect();
    let mut by = 0;
    for sent in &mut script.sent {
        let seq = [sent.bytes[2], sent.bytes[3]];
        if steps.contains(&seq.to_vec()) {
            by += 60;
        }
        let seq = u16::from_be_bytes(seq).wrapping_sub(by).to_be_bytes();
        sent.bytes[2..4].copy_from_slice(&seq);
    }
    let heard = hear(&perfect(&script.sent), hear_everything());
    let said: String = heard.keys.iter().map(|(key, _)| *key).collect();
    assert_eq!(
        (said.as_str(), heard.stats.restarts),
        ("155#5", 5),
        "{case}"
    );
    assert!(heard.audio.is_conserved(), "{case}");
    assert_eq!(heard.audio.gaps.total(), 5 * 300 * PER_MS, "{case}");
    Row::new("N8", case, "each said once")
}

#[test]
fn what_a_sender_does_its_own_way_loses_nothing() {
    rows();
}
