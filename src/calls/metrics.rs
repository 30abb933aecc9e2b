//! Figures of the server, for those who watch many of them. Nothing here waits for anything.

use std::sync::atomic::{AtomicU64, Ordering};

use asterscribe_recognition::OverloadStep;
use asterscribe_store::RecognitionPass;

use super::CallManager;
use crate::metrics::{MetricFamily, MetricValues};

impl CallManager {
    pub(super) fn figures(&self) -> Vec<MetricFamily> {
        let calls = [
            gauge(
                "calls_open",
                "Calls open now",
                self.registry(|registry| registry.open_count()) as f64,
            ),
            gauge(
                "calls_max",
                "MAX_CONCURRENT_CALLS, or what open files suffice for",
                self.config.max_calls as f64,
            ),
        ];
        let mut all = Vec::from(calls);
        all.extend(self.media_figures());
        all.extend(self.recognition_figures());
        all.extend(self.spool_figures());
        let store = self.stored.writer.stats();
        all.extend([
            gauge(
                "store_writes_waiting",
                "Changes of calls that the store does not have yet",
                store.queued as f64,
            ),
            counter(
                "store_writes_refused",
                "Changes of calls that were not kept",
                store.refused,
            ),
            counter(
                "store_writes_given_up",
                "Changes of calls that the store refused while it took others",
                store.broken,
            ),
            counter(
                "store_unreadable",
                "Records, lines and digits in the store that cannot be read and are left out",
                self.stored.store.unreadable(),
            ),
            counter(
                "store_lines_displaced",
                "Lines that got another number because another server wrote of the same call",
                self.stored.store.displaced(),
            ),
            counter(
                "store_calls_restored",
                "Calls of which the store had lost something and was given it again",
                self.stored.restored(),
            ),
        ]);
        all
    }

    fn media_figures(&self) -> Vec<MetricFamily> {
        let sum = |of: fn(&crate::media::MediaCounters) -> u64| -> u64 {
            self.media
                .threads
                .iter()
                .map(|thread| of(thread.counters()))
                .sum()
        };
        let fates = [
            ("admitted", sum(|thread| thread.gate().admitted)),
            ("unknown_source", sum(|thread| thread.gate().unknown_source)),
            ("not_rtp", sum(|thread| thread.gate().unknown_not_rtp)),
            ("hold_full", sum(|thread| thread.gate().hold_full)),
            ("kernel_dropped", sum(|thread| thread.kernel_drops())),
        ];
        vec![
            counters(
                "rtp_datagrams",
                "Datagrams at the RTP sockets by what became of them",
                "fate",
                &fates,
            ),
            counter("rtp_sent", "Packets sent", sum(|thread| thread.sent())),
            counter(
                "rtp_unsent",
                "Packets that the system did not take",
                sum(|thread| thread.unsent()),
            ),
            counter(
                "media_events_lost",
                "Events of the media threads that were lost",
                sum(|thread| thread.events_lost()),
            ),
            counter(
                "media_panics",
                "Panics on the media path, each of which ended a call",
                sum(|thread| thread.panics()),
            ),
        ]
    }

    fn recognition_figures(&self) -> Vec<MetricFamily> {
        let pool = &self.recognition.pool;
        let step = OverloadStep::ALL
            .iter()
            .position(|&step| step == pool.step());
        let fates = [
            ("accepted", read(&pool.accepted)),
            ("refused", read(&pool.refused)),
            ("too_old", read(&pool.too_old)),
            ("failed", read(&pool.failed)),
            ("packed", read(&pool.packed)),
            ("together", read(&pool.together)),
        ];
        let retries = pool.retries().map(|(why, count)| (why.name(), count));
        let suppressed: Vec<_> = self.registry(|registry| {
            let counts = registry.suppressed();
            counts
                .map(|(reason, count)| (reason.name(), count))
                .collect()
        });
        let (up, _) = self.recognition.recogniser.up();
        let (ended, stuck) = self.recognition.recogniser.stats().ends();
        let ends = [("crashed", ended.saturating_sub(stuck)), ("stuck", stuck)];
        let capacity = self.capacity().map(|capacity| {
            gauge(
                "recognition_capacity_calls",
                "Calls of two parties that this machine holds with the model in use, estimated when it was loaded",
                capacity.calls(),
            )
        });
        let mut figures = vec![
            gauge(
                "recognition_step",
                "What is given up: 0 nothing, 1 partial results, 2 utterances are recognised together, 3 refusing new calls",
                step.unwrap_or_default() as f64,
            ),
            gauge(
                "recognition_oldest_seconds",
                "How long ago the oldest utterance that waits was spoken",
                read(&pool.oldest_ms) as f64 / 1000.0,
            ),
            gauge(
                "recognition_waiting",
                "Utterances that wait",
                read(&pool.waiting) as f64,
            ),
            counters(
                "recognition_utterances",
                "Utterances by what became of them; those accepted may fail, wait too long, be packed or be decoded together later",
                "fate",
                &fates,
            ),
            counters(
                "recognition_retries",
                "Tries after the first with more of the model's window, by what was wrong with the text before",
                "why",
                &retries,
            ),
            counters(
                "recognition_suppressed",
                "Lines with text that was probably not spoken, by the reason",
                "reason",
                &suppressed,
            ),
            counter(
                "recognition_partials",
                "Partial results",
                read(&pool.partials),
            ),
            gauge(
                "recognition_processes_up",
                "Recognition processes that are up",
                up as f64,
            ),
            counters(
                "recognition_process_ends",
                "Ends of recognition processes that nobody asked for",
                "why",
                &ends,
            ),
        ];
        figures.extend(capacity);
        figures
    }

    fn spool_figures(&self) -> Vec<MetricFamily> {
        let Some(spool) = &self.late.spool else {
            return Vec::new();
        };
        let by_pass = |of: fn(&asterscribe_store::SpoolStats) -> &AtomicU64| {
            [
                ("first", RecognitionPass::First),
                ("second", RecognitionPass::Second),
            ]
            .map(|(name, pass)| (name, read(of(spool.stats(pass)))))
        };
        vec![
            gauges(
                "spool_waiting",
                "Utterances on the disk by the hearing that they wait for",
                "pass",
                &by_pass(|stats| &stats.waiting),
            ),
            gauges(
                "spool_bytes",
                "Bytes of the utterances on the disk",
                "pass",
                &by_pass(|stats| &stats.bytes),
            ),
            gauges(
                "spool_unreadable",
                "Utterances on the disk that could not be read",
                "pass",
                &by_pass(|stats| &stats.unreadable),
            ),
            counters(
                "spool_kept",
                "Utterances put on the disk",
                "pass",
                &by_pass(|stats| &stats.kept),
            ),
            counters(
                "spool_refused",
                "Utterances that could not be put on the disk",
                "pass",
                &by_pass(|stats| &stats.refused),
            ),
            counters(
                "spool_outlived",
                "Utterances given up for their age",
                "pass",
                &by_pass(|stats| &stats.outlived),
            ),
        ]
    }
}

fn read(figure: &AtomicU64) -> u64 {
    figure.load(Ordering::Relaxed)
}

fn gauge(name: &'static str, help: &'static str, value: f64) -> MetricFamily {
    let values = MetricValues::Gauge(value);
    MetricFamily { name, help, values }
}

fn gauges(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    of: &[(&'static str, u64)],
) -> MetricFamily {
    let of = of.iter().map(|&(value, count)| (value, count as f64));
    let values = MetricValues::Gauges(label, of.collect());
    MetricFamily { name, help, values }
}

fn counter(name: &'static str, help: &'static str, count: u64) -> MetricFamily {
    let values = MetricValues::Counter(count);
    MetricFamily { name, help, values }
}

fn counters(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    of: &[(&'static str, u64)],
) -> MetricFamily {
    let values = MetricValues::Counters(label, of.to_vec());
    MetricFamily { name, help, values }
}
