//! A report for people: as text, and as the table in the documentation.

use std::fmt::Write;

use super::Report;
use crate::bench::figures::{Figure, Unit};

impl Report {
    pub(in crate::bench) fn to_text(&self) -> String {
        let rows: Vec<_> = self.figures().iter().map(cells).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<_> = (0..6).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = self.head().join("\n");
        text.push_str("\n\n");
        for row in &rows {
            for (cell, width) in row.iter().zip(&widths) {
                // A string takes all that is written to it.
                let _infallible = write!(text, "{cell:width$}  ");
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text + "\n" + &self.verdict() + "\n"
    }

    pub(in crate::bench) fn to_markdown(&self) -> String {
        let mut text = String::new();
        for line in self.head() {
            text += &format!("{line}\n");
        }
        text += "\n| goal | measured | median | range | limit | |\n|---|---|---|---|---|---|\n";
        for figure in self.figures() {
            let [id, what, median, range, limit, met] = cells(&figure);
            text += &format!("| {id} | {what} | {median} | {range} | {limit} | {met} |\n");
        }
        text + "\n" + &self.verdict() + "\n"
    }

    /// Where and how it ran, a line each.
    fn head(&self) -> Vec<String> {
        let machine = &self.machine;
        let place = match (machine.receiver_cpu, machine.sender_cpu) {
            (Some(receiver), Some(sender)) => {
                format!("receivers pinned to processor {receiver}, the generator to {sender}")
            }
            _ => "one processor for all".to_owned(),
        };
        let network = if machine.place.own_network() {
            "a network namespace of its own"
        } else {
            "the host's loopback"
        };
        let time = if machine.place.own_time() {
            "before all else that runs (SCHED_RR)"
        } else {
            "among all else that runs"
        };
        let [all, disturbed] = [self.rounds.len(), self.disturbed()];
        let mut head = vec![
            format!(
                "{}, Linux {}; {network}; {place}, {time}.",
                machine.processor, machine.kernel
            ),
            format!(
                "{all} rounds, {disturbed} of them disturbed (others took more than 5 % of the processor); \
                 these do not count where at least as many others do."
            ),
        ];
        if self.quick {
            head.push("A quick run: it shows that all works and judges nothing.".to_owned());
        }
        for skipped in &self.skipped {
            head.push(format!(
                "Not run: {}: {}.",
                skipped.subject.name(),
                skipped.why
            ));
        }
        for fault in self.faults_of_others() {
            head.push(format!("Does not count: {fault}."));
        }
        head
    }

    fn verdict(&self) -> String {
        let faults = self.disqualified();
        if faults.is_empty() {
            return "No packet was lost, and every session's account balances.".to_owned();
        }
        format!("DISQUALIFIED:\n- {}", faults.join("\n- "))
    }
}

/// Goal, what, median, range, limit, verdict.
fn cells(figure: &Figure) -> [String; 6] {
    let amount = |value| amount(value, figure.unit);
    let median = figure.value.map_or_else(
        || "not run".to_owned(),
        |value| amount(value.median) + unit(figure.unit),
    );
    let range = figure
        .value
        .filter(|value| value.rounds > 1)
        .map(|value| format!("{} to {}", amount(value.low), amount(value.high)));
    let limit = figure
        .goal
        .map(|goal| format!("≤ {}{}", amount(goal), unit(figure.unit)));
    let met = figure.met().map(|met| if met { "met" } else { "NOT MET" });
    [
        figure.id.to_owned(),
        figure.what.clone(),
        median,
        range.unwrap_or_default(),
        limit.unwrap_or_default(),
        met.unwrap_or_default().to_owned(),
    ]
}

fn amount(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Ratio => format!("{value:.3}"),
        Unit::Nanoseconds | Unit::Packets => format!("{value:.0}"),
        Unit::PercentOfCore if value >= 1.0 => format!("{value:.1}"),
        Unit::PercentOfCore => format!("{value:.4}"),
        Unit::Kibibytes => format!("{value:.1}"),
    }
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Ratio => "×",
        Unit::Nanoseconds => " ns",
        Unit::PercentOfCore => " %",
        Unit::Kibibytes => " KiB",
        Unit::Packets => "",
    }
}
