//! How far a download is, for whoever waits.

use std::io::{self, Write};

/// Width of the bar.
const BAR: u64 = 40;

/// Bytes between two signs of life where nobody knows how many there will be.
const STEP: u64 = 16 << 20;

/// Shows on a terminal a bar, elsewhere a line for every tenth.
#[derive(Debug)]
pub struct PullProgress<W> {
    out: W,
    is_terminal: bool,
    shown: Option<u64>,
}

impl<W: Write> PullProgress<W> {
    /// Nothing is shown yet.
    pub fn new(out: W, is_terminal: bool) -> Self {
        Self {
            out,
            is_terminal,
            shown: None,
        }
    }

    /// So many bytes are here, of so many if that is known.
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

    /// No more will be shown: what follows stands on a line of its own.
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
