//! A report for people: as text, and as the table in the documentation.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::figures::{FigureUnit, ReportFigure};

/// How a report is printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum SheetFormat {
    Text,
    Json,
    Markdown,
}

/// Exit status of a run that lost packets, or whose counters did not balance.
const DISQUALIFIED: u8 = 3;

/// Exit status of a run.
pub(super) fn status(is_sound: bool) -> ExitCode {
    if is_sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DISQUALIFIED)
    }
}

/// A report.
#[derive(Debug, Clone)]
pub(super) struct ReportSheet {
    /// Lines about the machine and how the run was made.
    pub(super) head: Vec<String>,
    /// The table.
    pub(super) figures: Vec<ReportFigure>,
    /// Judgement on the run: whether its figures are to be relied on.
    pub(super) verdict: String,
}

impl ReportSheet {
    pub(super) fn to_text(&self) -> String {
        let rows: Vec<_> = self.figures.iter().map(cells).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<_> = (0..6).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = self.head.join("\n");
        text.push_str("\n\n");
        for row in &rows {
            for (cell, width) in row.iter().zip(&widths) {
                // A string takes all that is written to it.
                let _infallible = write!(text, "{cell:width$}  ");
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text + "\n" + &self.verdict + "\n"
    }

    pub(super) fn to_markdown(&self) -> String {
        let mut text = String::new();
        for line in &self.head {
            text += &format!("{line}\n");
        }
        text += "\n| goal | measured | median | range | limit | |\n|---|---|---|---|---|---|\n";
        for figure in &self.figures {
            let [id, what, median, range, limit, met] = cells(figure);
            text += &format!("| {id} | {what} | {median} | {range} | {limit} | {met} |\n");
        }
        text + "\n" + &self.verdict + "\n"
    }

    /// Prints the report: as text, as a Markdown table, or as the JSON that `json` makes.
    pub(super) fn print(
        &self,
        format: SheetFormat,
        json: impl FnOnce() -> Result<String>,
    ) -> Result<()> {
        let text = match format {
            SheetFormat::Text => self.to_text(),
            SheetFormat::Json => json()?,
            SheetFormat::Markdown => self.to_markdown(),
        };
        write!(io::stdout(), "{text}").context("cannot print the report")
    }
}

/// Goal, what, median, range, limit, verdict.
fn cells(figure: &ReportFigure) -> [String; 6] {
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

fn amount(value: f64, unit: FigureUnit) -> String {
    match unit {
        FigureUnit::Ratio => format!("{value:.3}"),
        FigureUnit::Nanoseconds | FigureUnit::Packets | FigureUnit::Calls => format!("{value:.0}"),
        FigureUnit::PercentOfCore if value >= 1.0 => format!("{value:.1}"),
        FigureUnit::PercentOfCore => format!("{value:.4}"),
        FigureUnit::Kibibytes | FigureUnit::Milliseconds => format!("{value:.1}"),
        FigureUnit::CpuSecondsPerMinute => format!("{value:.3}"),
        FigureUnit::Percent => format!("{value:.1}"),
    }
}

fn unit(unit: FigureUnit) -> &'static str {
    match unit {
        FigureUnit::Ratio => "×",
        FigureUnit::Nanoseconds => " ns",
        FigureUnit::PercentOfCore | FigureUnit::Percent => " %",
        FigureUnit::Kibibytes => " KiB",
        FigureUnit::Milliseconds => " ms",
        FigureUnit::CpuSecondsPerMinute => " CPU-s/min",
        FigureUnit::Packets | FigureUnit::Calls => "",
    }
}
