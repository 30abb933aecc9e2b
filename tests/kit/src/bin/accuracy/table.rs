//! The page: a row for each voice, totals below, and how it was measured above.

use asterscribe_testkit::words::WordErrors;

use crate::calls::{Heard, LOSS};

/// Word errors of one voice, or of several.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) voice: String,
    pub(crate) seen: bool,
    /// Errors in each format without loss, then in each with loss.
    pub(crate) errors: Vec<WordErrors>,
}

/// The page in Markdown; `heard` is by format and caller.
pub(crate) fn page(asterisk: &str, rows: &[Row], heard: &[Vec<Heard>]) -> String {
    let all = || heard.iter().flatten();
    let received: u64 = all().map(|call| call.received).sum();
    let lost: u64 = all().map(|call| call.lost).sum();
    let dropped: u64 = all().map(|call| call.dropped).sum();
    let share = 100.0 * dropped as f64 / received.max(1) as f64;
    let mut text = format!(
        "# How many words come out wrong, voice by voice\n\n\
         Written by `make accuracy`, with the demo model. Each voice says sentences of the model's grammar, none of them a recording that it \
         was trained on, with 1.5 s of pause between. Asterisk {asterisk} plays them as sound files (8 kHz for ulaw, 16 kHz for slin16), \
         each voice into a call of its own, {} calls at once; the server takes each through `Stasis` and external media, and what counts is the transcript \
         that its API gives. For the columns with loss the server's own captures of the same calls are replayed \
         (`asterscribe replay`, the same pipeline) with {LOSS} % of the packets left out, each by itself, by a fixed seed.\n\n\
         Of the live calls {received} packets came and {lost} were lost; {dropped} ({share:.1} %) were left out for the columns with loss.\n\n\
         Words wrong are those replaced, left out and put in, of those said; in brackets the 95 % interval (Wilson), which takes each \
         word for itself: errors come several to a sentence, so it is somewhat too narrow. \
         The model was trained on speech of 8 kHz alone; slin16 brings it sounds above 4 kHz that it never heard.\n\n\
         | voice | trained on | words | ulaw | slin16 | ulaw, {LOSS} % lost | slin16, {LOSS} % lost |\n\
         |---|---|---|---|---|---|---|\n",
        rows.len()
    );
    for row in rows {
        text += &line(row, if row.seen { "yes" } else { "no" });
    }
    for (name, trained, wanted) in [
        ("trained on", "yes", [true, true]),
        ("never heard", "no", [false, false]),
        ("all", "", [true, false]),
    ] {
        let chosen = rows.iter().filter(|row| wanted.contains(&row.seen));
        text += &line(&total(name, chosen), trained);
    }
    text
}

fn line(row: &Row, trained: &str) -> String {
    let cells: Vec<String> = row.errors.iter().map(cell).collect();
    let words = row.errors.first().map_or(0, |errors| errors.reference);
    format!(
        "| {} | {trained} | {words} | {} |\n",
        row.voice,
        cells.join(" | ")
    )
}

fn total<'a>(name: &str, rows: impl Iterator<Item = &'a Row>) -> Row {
    let mut errors: Vec<WordErrors> = Vec::new();
    for row in rows {
        errors.resize(row.errors.len(), WordErrors::default());
        for (sum, one) in errors.iter_mut().zip(&row.errors) {
            *sum = sum.plus(*one);
        }
    }
    Row {
        voice: format!("**{name}**"),
        seen: false,
        errors,
    }
}

fn cell(errors: &WordErrors) -> String {
    let (least, most) = wilson(errors.total(), errors.reference);
    format!(
        "{:.1} % ({:.1}–{:.1})",
        100.0 * errors.rate(),
        100.0 * least,
        100.0 * most
    )
}

/// Wilson's 95 % interval of a share; more errors than words count as all wrong.
fn wilson(wrong: usize, of: usize) -> (f64, f64) {
    const Z: f64 = 1.96;
    if of == 0 {
        return (0.0, 1.0);
    }
    let (n, share) = (of as f64, wrong.min(of) as f64 / of as f64);
    let middle = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + Z * Z / n;
    (
        ((middle - half) / whole).max(0.0),
        ((middle + half) / whole).min(1.0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(voice: &str, seen: bool, wrong: usize) -> Row {
        let errors = WordErrors {
            substitutions: wrong,
            reference: 100,
            ..WordErrors::default()
        };
        Row {
            voice: voice.to_owned(),
            seen,
            errors: vec![errors; 4],
        }
    }

    #[test]
    fn intervals_are_wilson_s() {
        let near = |(least, most): (f64, f64), wanted: (f64, f64)| {
            (least - wanted.0).abs() < 5e-4 && (most - wanted.1).abs() < 5e-4
        };
        assert!(near(wilson(0, 100), (0.0, 0.037)));
        assert!(near(wilson(10, 100), (0.0552, 0.1744)));
        assert!(near(wilson(120, 100), (0.963, 1.0)));
        assert!(near(wilson(0, 0), (0.0, 1.0)));
    }

    #[test]
    fn the_page_has_each_voice_and_the_totals_of_both_kinds() {
        let heard = || Heard {
            whole: String::new(),
            thinned: String::new(),
            received: 1000,
            lost: 0,
            dropped: 30,
        };
        let rows = [
            row("one", true, 2),
            row("two", true, 4),
            row("three", false, 9),
        ];
        let text = page("22", &rows, &[vec![heard(), heard()]]);
        assert!(
            text.contains("2000 packets came and 0 were lost; 60 (3.0 %)"),
            "{text}"
        );
        for begin in [
            "| one | yes | 100 | 2.0 % (0.6–7.0) |",
            "| **trained on** | yes | 200 | 3.0 % ",
            "| **never heard** | no | 100 | 9.0 % ",
            "| **all** |  | 300 | 5.0 % ",
        ] {
            assert!(text.contains(begin), "{begin}: {text}");
        }
    }
}
