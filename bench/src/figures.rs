//! From rounds to figures: medians, ratios, and whether a goal is met.

use serde::Serialize;

/// Median and range of several rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct RoundSpread {
    /// Half of the rounds are below, half above.
    pub(super) median: f64,
    /// Lowest of the rounds.
    pub(super) low: f64,
    /// Highest of the rounds.
    pub(super) high: f64,
    /// Number of rounds.
    pub(super) rounds: usize,
}

impl RoundSpread {
    /// Spread of these values; `None` if there are none, or if one is not a number.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().collect();
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let (middle, rounds) = (values.len() / 2, values.len());
        let median = if rounds % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self {
            median,
            low: values[0],
            high: values[rounds - 1],
            rounds,
        })
    }

    /// How many times `other` it is. The range is the widest there can be: the
    /// lowest over the highest to the highest over the lowest.
    pub(super) fn over(self, other: Self) -> Option<Self> {
        (other.low > 0.0).then(|| Self {
            median: self.median / other.median,
            low: self.low / other.high,
            high: self.high / other.low,
            rounds: self.rounds.min(other.rounds),
        })
    }

    /// The spread with every value changed by `change`, which must be monotonically increasing.
    pub(super) fn map(self, change: impl Fn(f64) -> f64) -> Self {
        Self {
            median: change(self.median),
            low: change(self.low),
            high: change(self.high),
            rounds: self.rounds,
        }
    }
}

/// A figure of the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ReportFigure {
    /// The goal that it belongs to, `G1` to `G13`, or none.
    pub(super) id: &'static str,
    /// Quantity that was measured, in words.
    pub(super) what: String,
    /// Unit of the figure.
    pub(super) unit: FigureUnit,
    /// The measurement; absent if what it needs did not run.
    pub(super) value: Option<RoundSpread>,
    /// The figure is to be no higher than this.
    pub(super) goal: Option<f64>,
}

/// Units of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FigureUnit {
    /// One quantity over another.
    Ratio,
    /// Nanoseconds of CPU time for a packet.
    Nanoseconds,
    /// Per cent of one processor.
    PercentOfCore,
    /// Memory, KiB.
    Kibibytes,
    /// Packets.
    Packets,
    /// Wall time.
    Milliseconds,
    /// CPU time for a minute of audio.
    CpuSecondsPerMinute,
    /// Parts of a whole.
    Percent,
    /// Calls of two parties.
    Calls,
}

impl ReportFigure {
    /// Whether the median keeps to the goal; none without either.
    pub(super) fn met(&self) -> Option<bool> {
        Some(self.value?.median <= self.goal?)
    }
}

/// Ratio of two spreads, where there are both.
pub(super) fn ratio(above: Option<RoundSpread>, below: Option<RoundSpread>) -> Option<RoundSpread> {
    above?.over(below?)
}

/// A row of the report.
pub(super) fn figure(
    id: &'static str,
    what: String,
    unit: FigureUnit,
    value: Option<RoundSpread>,
    goal: Option<f64>,
) -> ReportFigure {
    ReportFigure {
        id,
        what,
        unit,
        value,
        goal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_median_is_the_middle_one_or_between_the_two() {
        let spread = |values: &[f64]| RoundSpread::of(values.iter().copied());
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[1.0, f64::NAN]), None);
        assert_eq!(spread(&[3.0, 1.0, 2.0]).unwrap().median, 2.0);
        let even = spread(&[4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!(
            (even.median, even.low, even.high, even.rounds),
            (2.5, 1.0, 4.0, 4)
        );
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        let one = RoundSpread::of([1.0]).unwrap();
        assert_eq!(one.over(RoundSpread::of([0.0]).unwrap()), None);
    }

    #[test]
    fn a_goal_is_met_up_to_its_very_value() {
        let mut figure = ReportFigure {
            id: "G1",
            what: String::new(),
            unit: FigureUnit::Ratio,
            value: RoundSpread::of([1.5]),
            goal: Some(1.5),
        };
        assert_eq!(figure.met(), Some(true));
        figure.value = RoundSpread::of([1.4, 1.6, 1.7]);
        assert_eq!(figure.met(), Some(false));
        figure.value = None;
        assert_eq!(figure.met(), None);
        figure.goal = None;
        assert_eq!(figure.met(), None);
    }

    proptest! {
        #[test]
        fn the_range_of_a_ratio_holds_every_ratio_there_was(
            above in prop::collection::vec(1.0..1e9f64, 1..9),
            below in prop::collection::vec(1.0..1e9f64, 1..9),
        ) {
            let spread = |values: &[f64]| RoundSpread::of(values.iter().copied()).unwrap();
            let ratio = spread(&above).over(spread(&below)).unwrap();
            prop_assert!(ratio.low <= ratio.median && ratio.median <= ratio.high);
            for a in &above {
                for b in &below {
                    prop_assert!(ratio.low <= a / b && a / b <= ratio.high);
                }
            }
        }
    }
}
