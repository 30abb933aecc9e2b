//! Progress of a download, shown on the terminal or in lines.

use std::io::{self, Write};

/// Width of the bar.
const BAR: u64 = 40;

/// Bytes between two lines where the size is not known.
const STEP: u64 = 16 << 20;

/// Display of the progress: a bar on a terminal, elsewhere a line for every tenth.
#[derive(Debug)]
pub struct PullProgress<W> {
    out: W,
    is_terminal: bool,
    shown: Option<u64>,
}

impl<W: Write> PullProgress<W> {
    /// A display that has shown nothing yet.
    pub fn new(out: W, is_terminal: bool) -> Self {
        Self {
            out,
            is_terminal,
            shown: None,
        }
    }

    /// Shows that `done` bytes are here, of `total` if that is known.
    ///
    /// # Errors
    /// Nobody takes the text.
    pub fn show(&mut self, done: u64, total: Option<u64>) -> io::Result<()> {
        let total = total.filter(|total| *total > 0);
        let percent = total.map(|total| done.saturating_mul(100) / total);
        let step = match percent {
            Some(percent) if self.is_terminal => percent,
            Some(percent) => percent / 10,
            None => done / STEP,
        };
        if self.shown.replace(step) == Some(step) {
            return Ok(());
        }
        let mib = done >> 20;
        let text = match (percent, total) {
            (Some(percent), Some(total)) => format!("{percent:3} %, {mib} of {} MiB", total >> 20),
            _ => format!("{mib} MiB"),
        };
        match percent {
            Some(percent) if self.is_terminal => {
                let full = usize::try_from(percent.min(100) * BAR / 100).unwrap_or_default();
                let (full, width) = ("#".repeat(full), usize::try_from(BAR).unwrap_or_default());
                write!(self.out, "\r[{full:<width$}] {text} ")?;
            }
            None if self.is_terminal => write!(self.out, "\r{text} ")?,
            _ => writeln!(self.out, "{text}")?,
        }
        self.out.flush()
    }

    /// Ends the display: further output begins on a line of its own.
    ///
    /// # Errors
    /// Nobody takes the text.
    pub fn end(&mut self) -> io::Result<()> {
        if self.is_terminal && self.shown.take().is_some() {
            writeln!(self.out)?;
        }
        Ok(())
    }
}
