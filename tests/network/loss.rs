//! N1: packets that get lost, one by one and in bursts.

use asterscribe_rtp::testkit::netem::{LossModel, NetemConfig};

use crate::oracle::Oracle;
use crate::rig::{Format, Script, hear, hear_everything, through};
use crate::table::Row;

const SEEDS: std::ops::Range<u64> = 0..3;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for percent in [1, 2, 5, 10, 20, 30] {
        let loss = LossModel::Uniform(f64::from(percent) / 100.0);
        rows.push(run(
            loss,
            format!("{percent} % of the packets lost, one by one"),
        ));
    }
    for (leave, name) in [(0.67, 30), (0.33, 60), (0.1, 200)] {
        let loss = LossModel::Bursts {
            enter: 0.02,
            leave,
            good: 0.001,
            bad: 0.95,
        };
        rows.push(run(
            loss,
            format!("bursts of {name} ms on the mean (Gilbert–Elliott)"),
        ));
    }
    rows
}

fn run(loss: LossModel, case: String) -> Row {
    let script = Script::new(Format::Slin16).speak(1_000, 20);
    let config = NetemConfig {
        loss,
        ..NetemConfig::default()
    };
    let (mut sent, mut lost) = (0, 0);
    for seed in SEEDS {
        let arrivals = through(&script.sent, config, seed);
        let oracle = Oracle::new(&script.sent, &arrivals);
        oracle.check(
            &hear(&arrivals, hear_everything()),
            &format!("{case}, seed {seed}"),
        );
        sent += script.sent.len();
        lost += oracle.lost;
    }
    let result = format!(
        "{lost} of {sent} packets lost: each reported as `net_loss`, every other sample at its place"
    );
    Row::new("N1", case, result)
}

#[test]
fn what_is_lost_is_reported_and_the_rest_is_at_its_place() {
    rows();
}
