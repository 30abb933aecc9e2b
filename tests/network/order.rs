//! N2, N3: packets out of order, twice, late; a network that jitters and freezes.

use std::time::Duration;

use asterscribe_rtp::testkit::netem::{LossModel, NetemConfig};

use crate::oracle::Oracle;
use crate::rig::{
    Arrival, Format, Look, Script, Sent, fifo, hear, hear_everything, hear_looking, perfect,
    through,
};
use crate::table::Row;

const SEEDS: std::ops::Range<u64> = 0..3;
const MS: Duration = Duration::from_millis(1);

pub(crate) fn rows() -> Vec<Row> {
    let script = Script::new(Format::Slin16).speak(1_000, 20);
    let mut rows: Vec<_> = (1..=10)
        .filter(|depth| depth % 3 == 1)
        .map(|depth| displaced(&script, depth))
        .collect();
    for share in [0.01, 0.5, 1.0] {
        rows.push(copies(&script, share));
    }
    for delay in [200, 500, 1_000] {
        rows.push(late(&script, delay));
    }
    for jitter in [20, 80, 200] {
        rows.push(jittery(&script, jitter));
    }
    rows.extend(frozen(&script));
    rows.push(looked_at_less_often(&script));
    rows
}

/// Every so many packets one changes places with one `depth` behind it, 10 ms packets so
/// that ten places are within the wait.
fn displaced(script: &Script, depth: usize) -> Row {
    let script = Script {
        sent: Script::new(script.format).speak(1_000, 10).sent,
        ..script.clone()
    };
    let mut arrivals = perfect(&script.sent);
    for first in (0..arrivals.len() - depth).step_by(depth + 3).skip(1) {
        swap(&mut arrivals, first, first + depth);
    }
    let heard = hear(&arrivals, hear_everything());
    let straight = hear(&perfect(&script.sent), hear_everything());
    let case = format!("packets of 10 ms, {depth} places out of order");
    Oracle::new(&script.sent, &arrivals).check(&heard, &case);
    assert_eq!(heard.samples, straight.samples, "{case}");
    Row::new(
        "N2",
        case,
        format!(
            "{} put back: not a sample differs from the right order",
            heard.stats.reordered
        ),
    )
}

/// Swaps the packets of two arrivals; the times of arrival stay.
fn swap(arrivals: &mut [Arrival], a: usize, b: usize) {
    let (at_a, at_b) = (arrivals[a].at, arrivals[b].at);
    arrivals.swap(a, b);
    arrivals[a].at = at_a;
    arrivals[b].at = at_b;
}

fn copies(script: &Script, share: f64) -> Row {
    let config = NetemConfig {
        duplicate: share,
        jitter: 30 * MS,
        ..NetemConfig::default()
    };
    let case = format!("{:.0} % of the packets twice", share * 100.0);
    let straight = hear(&perfect(&script.sent), hear_everything());
    let mut refused = 0;
    for seed in SEEDS {
        let arrivals = through(&script.sent, config, seed);
        let heard = hear(&arrivals, hear_everything());
        Oracle::new(&script.sent, &arrivals).check(&heard, &case);
        // The network may have put the second packet first.
        let behind = &straight.samples[straight.samples.len() - heard.samples.len()..];
        assert_eq!(heard.samples, behind, "{case}");
        let copies = arrivals.len() - script.sent.len();
        let kept_out = heard.stats.duplicate + heard.stats.too_old;
        assert!(kept_out >= copies as u64, "{case}: {:?}", heard.stats);
        refused += kept_out;
    }
    Row::new(
        "N2",
        case,
        format!("{refused} copies refused and counted; not a sample differs"),
    )
}

fn late(script: &Script, delay: u64) -> Row {
    let config = NetemConfig {
        reorder: 0.03,
        reorder_delay: Duration::from_millis(delay),
        loss: LossModel::Uniform(0.02),
        ..NetemConfig::default()
    };
    let case = format!("3 % of the packets late by {delay} ms, 2 % lost");
    let (mut late, mut lost) = (0, 0);
    for seed in SEEDS {
        let arrivals = through(&script.sent, config, seed);
        let oracle = Oracle::new(&script.sent, &arrivals);
        oracle.check(
            &hear(&arrivals, hear_everything()),
            &format!("{case}, seed {seed}"),
        );
        late += oracle.late;
        lost += oracle.lost - oracle.late;
    }
    Row::new(
        "N2",
        case,
        format!("{late} reported as `late` and never inserted, {lost} as `net_loss`"),
    )
}

fn jittery(script: &Script, jitter: u64) -> Row {
    let config = NetemConfig {
        jitter: Duration::from_millis(jitter),
        ..NetemConfig::default()
    };
    let case = format!("each packet delayed by 0 to {jitter} ms, on its own");
    let mut late = 0;
    for seed in SEEDS {
        let arrivals = through(&script.sent, config, seed);
        let oracle = Oracle::new(&script.sent, &arrivals);
        oracle.check(
            &hear(&arrivals, hear_everything()),
            &format!("{case}, seed {seed}"),
        );
        late += oracle.late;
    }
    let result = match late {
        0 => "nothing lost".to_owned(),
        late => format!("{late} later than the wait of 120 ms: reported as `late`"),
    };
    Row::new("N3", case, result)
}

/// How long a packet waits in the network.
type Delay = fn(&Sent) -> Duration;

/// A queue in the network that stops and then delivers everything at once, in order.
fn frozen(script: &Script) -> Vec<Row> {
    let long_script = Script::new(Format::Slin16).speak(600, 20);
    let cases: [(&str, &Script, Delay); 3] = [
        ("a spike of 500 ms every 5 s", script, |sent| {
            let phase = sent.at.as_millis() % 5_000;
            MS * 500u32.saturating_sub(u32::try_from(phase).unwrap_or(u32::MAX))
        }),
        ("a spike of 1 s every 5 s", script, |sent| {
            let phase = sent.at.as_millis() % 5_000;
            MS * 1_000u32.saturating_sub(u32::try_from(phase).unwrap_or(u32::MAX))
        }),
        (
            "frozen for 5 s, then 250 packets at once",
            &long_script,
            |sent| {
                let thaw = Duration::from_secs(8);
                let frozen = sent.at >= Duration::from_secs(3) && sent.at < thaw;
                if frozen {
                    thaw - sent.at
                } else {
                    Duration::ZERO
                }
            },
        ),
    ];
    let run = |(case, script, delay): (&str, &Script, Delay)| {
        let arrivals = fifo(&script.sent, delay);
        let oracle = Oracle::new(&script.sent, &arrivals);
        let heard = hear(&arrivals, hear_everything());
        oracle.check(&heard, case);
        assert_eq!(
            (heard.stats.lost, heard.stats.overload_shed),
            (0, 0),
            "{case}"
        );
        Row::new("N3", case, "nothing lost, nothing shed, no time added")
    };
    cases.map(run).into()
}

/// A server looks at its timers now and then, a replay at each deadline.
fn looked_at_less_often(script: &Script) -> Row {
    let config = NetemConfig {
        loss: LossModel::Uniform(0.05),
        jitter: 90 * MS,
        reorder: 0.1,
        reorder_delay: 70 * MS,
        duplicate: 0.1,
        ..NetemConfig::default()
    };
    for seed in SEEDS {
        let arrivals = through(&script.sent, config, seed);
        let exact = hear(&arrivals, hear_everything());
        for step in [1, 5, 7, 20] {
            let look = Look::Every(step * MS);
            let heard = hear_looking(&arrivals, hear_everything(), look);
            assert_eq!(heard.samples, exact.samples, "every {step} ms, seed {seed}");
            assert_eq!(
                (heard.audio, &heard.stats),
                (exact.audio, &exact.stats),
                "every {step} ms"
            );
            assert_eq!(heard.lines, exact.lines, "every {step} ms");
        }
    }
    let case = "loss, jitter, disorder and copies, with timers looked at every 1, 5, 7, 20 ms";
    Row::new(
        "N3",
        case,
        "the same samples, counters and lines as at exact deadlines",
    )
}

#[test]
fn what_comes_in_time_is_put_in_order_and_the_rest_is_reported() {
    rows();
}
