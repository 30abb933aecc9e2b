//! N5, N6: numbers that wrap, jump, stand still or run backwards.

use std::time::Duration;

use crate::oracle::Oracle;
use crate::rig::{Arrival, Format, Heard, PER_MS, Script, hear, hear_everything, perfect};
use crate::table::Row;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = wraps();
    rows.push(half_a_day());
    rows.extend(sequence_jumps());
    rows.extend(strange_timestamps());
    rows
}

/// Both numbers wrap in the middle, with each combination of losses around it.
fn wraps() -> Vec<Row> {
    let mut script = Script::new(Format::Slin16);
    script.seq = u16::MAX - 49;
    // Sequence and timestamp wrap with the same packet.
    script.time = 0u32.wrapping_sub(50 * 320);
    let script = script.speak(120, 20);
    for pattern in 0..64u32 {
        let mut arrivals = perfect(&script.sent);
        arrivals.retain(|arrival| {
            let index = arrival.index.unwrap_or(usize::MAX);
            let near = index.wrapping_sub(47);
            near >= 6 || pattern >> near & 1 == 0
        });
        let what = format!("losses {pattern:06b} around the wrap");
        Oracle::new(&script.sent, &arrivals).check(&hear(&arrivals, hear_everything()), &what);
    }
    let case =
        "sequence number and timestamp wrap with the same packet, 64 patterns of loss around it";
    vec![Row::new("N5", case, "exact to the sample in all")]
}

/// 12 hours of a party that speaks for two seconds a minute.
fn half_a_day() -> Row {
    let mut script = Script::new(Format::Ulaw);
    // The 8 kHz timestamp wraps in the sixth hour.
    script.time = 0u32.wrapping_sub(8_000 * 3_600 * 6);
    for _ in 0..12 * 60 {
        script = script.speak(100, 20).pause(58_000, true);
    }
    let arrivals = perfect(&script.sent);
    let heard = hear(&arrivals, hear_everything());
    let oracle = Oracle::new(&script.sent, &arrivals);
    assert_eq!(heard.audio.span, oracle.end - oracle.begin);
    assert_eq!(heard.audio.gaps, oracle.gaps);
    assert!(heard.audio.is_conserved());
    let case = "12 hours with a wrap of each number, 2 s of speech a minute";
    let hours = heard.audio.gaps.sender_silence / PER_MS / 60_000;
    Row::new(
        "N5",
        case,
        format!(
            "{} packets, {hours} min of `sender_silence`: the span and every gap exact",
            arrivals.len()
        ),
    )
}

fn sequence_jumps() -> Vec<Row> {
    let mut rows = Vec::new();
    for (jump, waited) in [
        (100u16, true),
        (2_998, true),
        (2_998, false),
        (3_000, true),
        (30_000, true),
        (30_000, false),
    ] {
        let mut script = Script::new(Format::Slin16).speak(100, 20);
        script.seq = script.seq.wrapping_add(jump);
        let passed = u64::from(jump) * 20;
        if waited {
            script = script.pause(passed, false);
        }
        let script = script.speak(100, 20);
        let heard = hear(&perfect(&script.sent), hear_everything());
        let case = format!(
            "the sequence jumps by {jump}, {}",
            if waited {
                "and as much time has passed"
            } else {
                "and no time has passed"
            }
        );
        all_of_it_heard(&heard, &script, &case);
        let gaps = heard.audio.gaps;
        let expected = if waited { passed * PER_MS } else { 0 };
        assert_eq!(gaps.total(), expected, "{case}: {gaps:?}");
        let result = match (waited, jump < 3_000) {
            (false, _) => "no time is added".to_owned(),
            (true, true) => {
                assert_eq!(gaps.net_loss, expected, "{case}: {gaps:?}");
                format!("{passed} ms of `net_loss`")
            }
            (true, false) => {
                assert_eq!(gaps.discontinuity, expected, "{case}: {gaps:?}");
                format!("{passed} ms of `discontinuity`: a new beginning, known by its arrival")
            }
        };
        rows.push(Row::new("N6", case, result));
    }
    rows
}

fn strange_timestamps() -> Vec<Row> {
    let second = 16_000i64;
    let mut cases: Vec<(String, Script)> = [
        second,
        -second,
        60 * second,
        -60 * second,
        (1 << 31) - 1,
        -(1 << 31),
    ]
    .map(|ticks| {
        let mut script = Script::new(Format::Slin16).speak(100, 20);
        script.time = script.time.wrapping_add(ticks as u32);
        let seconds = ticks as f64 / second as f64;
        (
            format!("the timestamp jumps by {seconds:.0} s while no time passes"),
            script.speak(100, 20),
        )
    })
    .into();
    let mut stuck = Script::new(Format::Slin16).speak(50, 20);
    for _ in 0..100 {
        stuck.packet(320);
        stuck.at += Duration::from_millis(20);
        stuck.time = stuck.time.wrapping_sub(320);
    }
    cases.push((
        "the timestamp stands still for 2 s".to_owned(),
        stuck.speak(50, 20),
    ));
    let mut backwards = Script::new(Format::Slin16).speak(50, 20);
    for _ in 0..100 {
        backwards.packet(320);
        backwards.at += Duration::from_millis(20);
        backwards.time = backwards.time.wrapping_sub(640);
    }
    cases.push((
        "the timestamp runs backwards for 2 s".to_owned(),
        backwards.speak(50, 20),
    ));
    let mut fast = Script::new(Format::Ulaw);
    for _ in 0..200 {
        fast.packet(320);
        fast.at += Duration::from_millis(20);
        // 960 ticks a packet instead of 160.
        fast.time = fast.time.wrapping_add(800);
    }
    cases.push(("a 48 kHz clock on 8 kHz audio".to_owned(), fast));
    let run = |(case, script): (String, Script)| {
        let arrivals = perfect(&script.sent);
        let heard = hear(&arrivals, hear_everything());
        all_of_it_heard(&heard, &script, &case);
        let wall = wall_samples(&arrivals);
        assert!(
            heard.audio.span <= wall + 16_000,
            "{case}: {} beyond {wall}",
            heard.audio.span
        );
        let added = heard.audio.span - heard.stats.audio_ms * PER_MS;
        let result = match added / PER_MS {
            0 => "every packet heard, no time added".to_owned(),
            ms => format!(
                "every packet heard, {ms} ms added, reported; never a second beyond real time"
            ),
        };
        Row::new("N6", case, result)
    };
    cases.into_iter().map(run).collect()
}

fn wall_samples(arrivals: &[Arrival]) -> u64 {
    let wall = arrivals.last().map_or(Duration::ZERO, |last| last.at);
    wall.as_millis() as u64 * PER_MS + 320
}

#[track_caller]
fn all_of_it_heard(heard: &Heard, script: &Script, case: &str) {
    assert!(heard.audio.is_conserved(), "{case}: {:?}", heard.audio);
    assert_eq!(heard.audio.pending, 0, "{case}");
    assert_eq!(
        heard.stats.decoded,
        script.sent.len() as u64,
        "{case}: {:?}",
        heard.stats
    );
    assert_eq!(heard.stats.sequence_jump, 0, "{case}");
}

#[test]
fn no_number_loses_audio_or_stretches_time() {
    rows();
}
