//! The table in `docs/network-faults.md`: what each row was run with, and what came
//! out. It is written by the tests, never by hand.

/// One case of a row of the list of faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    row: &'static str,
    case: String,
    result: String,
}

impl Row {
    pub(crate) fn new(
        row: &'static str,
        case: impl Into<String>,
        result: impl Into<String>,
    ) -> Self {
        Self {
            row,
            case: case.into(),
            result: result.into(),
        }
    }
}

const INTRODUCTION: &str = "\
# What the network may do to a call

Written by `UPDATE_EXPECT=1 cargo test --test network`; the same test fails when this page and the results differ.
Every case runs in virtual time at fixed seeds. A party speaks a noise whose every sample tells its place; an oracle
tells from the script and the network's own log which samples must come out, where, and how much is missing for which
reason. A case passes when all of it agrees to the sample and the account of the audio adds up (`span = transcribed +
non_speech + gaps`, nothing pending). Samples behind a gap are compared from 4 ms on: before, they are blended with
what was made up for the gap.

| row | case | result |
|---|---|---|
";

pub(crate) fn markdown(rows: &[Row]) -> String {
    let line = |row: &Row| format!("| {} | {} | {} |\n", row.row, row.case, row.result);
    let lines: String = rows.iter().map(line).collect();
    format!("{INTRODUCTION}{lines}")
}
