//! Page of results.

use crate::run::{Cell, Lines};

/// A setting's figures, condition by condition.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) cells: Vec<Cell>,
}

/// A sound that is no speech: `base`'s lines, then `tiny.en`'s.
pub(crate) struct Silence {
    pub(crate) name: &'static str,
    pub(crate) minutes: f64,
    pub(crate) lines: [Lines; 2],
}

pub(crate) fn page(
    prompts: usize,
    conditions: &[&str],
    rows: &[Row],
    silences: &[Silence],
) -> String {
    let heads = conditions.join(" | ");
    let rules = "---|".repeat(conditions.len() + 1);
    let mut text = format!(
        "# How people's speech is cut\n\n\
         Written by `make bench-segmentation`: {prompts} English prompts of Asterisk (`make real-speech`), each cut to its voice, joined into one-sided calls \
         with pauses of 0.2, 0.4, 0.7, 1, 1.5 and 2 s, as µ-law, replayed with CTranslate2 of 8 bits and `WHISPER_LANGUAGE=en`. \
         One setting is changed at a time, `tiny.en` where nothing else is said; [settings.md](settings.md) has the defaults. *Each prompt by itself*: cut where it is known to be, with 240 ms before and 300 ms behind it, by the engine alone.\n\n\
         In each cell: words wrong, of {words} (how many are missing); lines / borders of lines within a prompt / lines with more than one prompt. \
         Noise is white, below the power of the voice. A shorter hang-over makes each line come earlier by as much.\n\n\
         | | {heads} |\n|{rules}\n",
        words = rows
            .first()
            .and_then(|row| row.cells.first())
            .map_or(0, |cell| cell.errors.reference),
    );
    for Row { name, cells } in rows {
        let cells: Vec<_> = cells.iter().map(cell).collect();
        text += &format!("| {name} | {} |\n", cells.join(" | "));
    }
    let minutes: f64 = silences.iter().map(|silence| silence.minutes).sum();
    text += &format!(
        "\n## {minutes:.0} minutes in which nobody speaks\n\n\
         The same replays with the defaults. *Without text*: utterances that the model was given, and whose lines say nothing.\n\n\
         | | minutes | `base`: lines with text | without text | `tiny.en`: with text | without text |\n|---|---|---|---|---|---|\n"
    );
    for silence in silences {
        let Silence {
            name,
            minutes,
            lines: [base, tiny],
        } = silence;
        text += &format!(
            "| {name} | {minutes:.1} | {} | {} | {} | {} |\n",
            base.with_text, base.without_text, tiny.with_text, tiny.without_text
        );
    }
    text
}

fn cell(cell: &Cell) -> String {
    let Cell {
        errors,
        lines,
        torn,
        joined,
    } = cell;
    let percent = 100.0 * errors.rate();
    let lost = errors.deletions;
    format!("{percent:.2} % ({lost}); {lines} / {torn} / {joined}")
}
