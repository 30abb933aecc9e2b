//! Warnings that repeat themselves: written once, and from then on once in a while with the number
//! of times they came.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use asterscribe_clock as clock;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Time between two lines with the same warning.
const PERIOD: Duration = Duration::from_secs(60);

/// Warnings that are told apart; beyond that the one that was written first is forgotten.
const MOST: usize = 256;

/// Writes events as `inner` does, warnings that repeat themselves less often.
pub(super) struct UnrepeatedLayer<F> {
    inner: F,
    seen: Mutex<SeenMessages>,
}

impl<F> UnrepeatedLayer<F> {
    pub(super) fn new(inner: F) -> Self {
        let seen = Mutex::default();
        Self { inner, seen }
    }
}

impl<S, N, F> FormatEvent<S, N> for UnrepeatedLayer<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if *event.metadata().level() != Level::WARN {
            return self.inner.format_event(context, writer, event);
        }
        let key = key(event);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let repeated = seen.comes(key, clock::now());
        drop(seen);
        match repeated {
            None => Ok(()),
            Some(0) => self.inner.format_event(context, writer, event),
            Some(repeated) => {
                let mut line = String::new();
                let plain = Writer::new(&mut line);
                self.inner.format_event(context, plain, event)?;
                let line = line.trim_end();
                match line.strip_suffix('}').filter(|_| line.starts_with('{')) {
                    Some(object) => writeln!(writer, "{object},\"repeated\":{repeated}}}"),
                    None => writeln!(writer, "{line} repeated={repeated}"),
                }
            }
        }
    }
}

/// Recent warnings: when each was written, and how often it came since.
#[derive(Debug, Default)]
struct SeenMessages {
    of: HashMap<u64, (Instant, u64)>,
}

impl SeenMessages {
    /// Counts a warning. `None` if it is not to be written now, else how often it came since the
    /// last line.
    fn comes(&mut self, key: u64, now: Instant) -> Option<u64> {
        if let Some((written, since)) = self.of.get_mut(&key) {
            if now.saturating_duration_since(*written) < PERIOD {
                *since += 1;
                return None;
            }
            let repeated = *since;
            (*written, *since) = (now, 0);
            return Some(repeated);
        }
        if self.of.len() >= MOST {
            let oldest = self.of.iter().min_by_key(|(_, (written, _))| *written);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.of.remove(&oldest);
            }
        }
        self.of.insert(key, (now, 0));
        Some(0)
    }
}

/// Hash by which two events are the same: their place in the code and their texts, whatever numbers
/// go with them.
fn key(event: &Event<'_>) -> u64 {
    let mut said = RepeatedLine(DefaultHasher::new());
    event.metadata().callsite().hash(&mut said.0);
    event.record(&mut said);
    said.0.finish()
}

struct RepeatedLine(DefaultHasher);

impl Visit for RepeatedLine {
    fn record_i64(&mut self, _: &Field, _: i64) {}
    fn record_u64(&mut self, _: &Field, _: u64) {}
    fn record_i128(&mut self, _: &Field, _: i128) {}
    fn record_u128(&mut self, _: &Field, _: u128) {}
    fn record_f64(&mut self, _: &Field, _: f64) {}

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        field.name().hash(&mut self.0);
        // A hasher takes everything.
        let _never = write!(RepeatedFeed(&mut self.0), "{value:?}");
    }
}

struct RepeatedFeed<'a>(&'a mut DefaultHasher);

impl fmt::Write for RepeatedFeed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_written_once_and_then_with_its_count() {
        let (mut seen, start) = (SeenMessages::default(), clock::now());
        let at = |secs| start + Duration::from_secs(secs);
        assert_eq!(seen.comes(1, at(0)), Some(0));
        for secs in 1..60 {
            assert_eq!(seen.comes(1, at(secs)), None);
        }
        assert_eq!(seen.comes(2, at(30)), Some(0), "another one");
        assert_eq!(seen.comes(1, at(60)), Some(59));
        assert_eq!(seen.comes(1, at(61)), None);
        assert_eq!(seen.comes(2, at(500)), Some(0), "it had not come again");
    }

    #[test]
    fn so_many_different_ones_are_remembered_and_no_more() {
        let (mut seen, now) = (SeenMessages::default(), clock::now());
        for key in 0..10_000 {
            assert_eq!(seen.comes(key, now), Some(0));
        }
        assert_eq!(seen.of.len(), MOST);
    }

    #[test]
    fn the_same_warning_is_one_line_in_both_formats() {
        for is_json in [false, true] {
            let log = Log::default();
            let builder = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_writer(log.clone());
            let warn = |figure: u64, host: &str| {
                tracing::warn!(figure, host, "it is away");
                tracing::info!(figure, "news");
            };
            let all = || {
                for figure in 0..3 {
                    warn(figure, "one");
                }
                warn(0, "two");
            };
            if is_json {
                let format = builder.json().map_event_format(UnrepeatedLayer::new);
                tracing::subscriber::with_default(format.finish(), all);
            } else {
                let format = builder.map_event_format(UnrepeatedLayer::new);
                tracing::subscriber::with_default(format.finish(), all);
            }
            let text = log.text();
            let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
            assert_eq!(count("it is away"), 2, "{text}");
            assert_eq!(
                (count("one"), count("two"), count("news")),
                (1, 1, 4),
                "{text}"
            );
        }
    }

    #[derive(Clone, Default)]
    struct Log(std::sync::Arc<Mutex<Vec<u8>>>);

    impl Log {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Log {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }
}
