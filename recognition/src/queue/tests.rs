use proptest::prelude::*;

use super::*;

struct Bench {
    zero: Instant,
    queue: JobQueue<u32>,
}

impl Bench {
    fn new(capacity: usize) -> Self {
        Self {
            #[expect(clippy::disallowed_methods, reason = "any instant will do")]
            zero: Instant::now(),
            queue: JobQueue::new(1, capacity),
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.zero + Duration::from_millis(ms)
    }

    fn push(
        &mut self,
        ticket: u32,
        urgency: JobUrgency,
        call: u64,
        spoken_ms: u64,
        ms: u64,
    ) -> Option<u32> {
        let task = RecognitionTask {
            samples: vec![0; (ms * SAMPLES_PER_MS) as usize],
            choices: Arc::default(),
            urgency,
            speaker: SpeakerLeg { call, leg: 0 },
            spoken: self.at(spoken_ms),
        };
        self.queue.push(ticket, task).map(|(ticket, _)| ticket)
    }

    fn pop(&mut self, ms: u64) -> Option<u32> {
        let now = self.at(ms);
        self.queue.pop(now).map(|(ticket, _)| ticket)
    }
}

#[test]
fn finals_come_before_the_backlog_and_that_before_partials() {
    let mut bench = Bench::new(10);
    assert_eq!(bench.push(1, JobUrgency::Partial, 1, 0, 100), None);
    assert_eq!(bench.push(2, JobUrgency::Backlog, 2, 0, 100), None);
    assert_eq!(bench.push(3, JobUrgency::Final, 3, 500, 100), None);
    let order: Vec<_> = std::iter::from_fn(|| bench.pop(1000)).collect();
    assert_eq!(order, [3, 2, 1]);
    assert!(bench.queue.is_empty());
}

#[test]
fn what_was_spoken_first_comes_first() {
    let mut bench = Bench::new(10);
    for (ticket, spoken) in [(1, 300), (2, 100), (3, 200)] {
        bench.push(ticket, JobUrgency::Final, u64::from(ticket), spoken, 50);
    }
    let order: Vec<_> = std::iter::from_fn(|| bench.pop(1000)).collect();
    assert_eq!(order, [2, 3, 1]);
}

#[test]
fn a_call_that_hands_in_a_burst_does_not_keep_others_waiting() {
    let mut bench = Bench::new(100);
    for ticket in 0..20 {
        bench.push(ticket, JobUrgency::Final, 1, 1000, 5000);
    }
    bench.push(100, JobUrgency::Final, 2, 3000, 1000);
    let order: Vec<_> = std::iter::from_fn(|| bench.pop(4000)).collect();
    assert_eq!(order[..2], [0, 100]);
    assert_eq!(order.len(), 21);
}

#[test]
fn a_final_cancels_the_partial_of_its_leg_and_a_newer_partial_an_older_one() {
    let mut bench = Bench::new(10);
    assert_eq!(bench.push(1, JobUrgency::Partial, 1, 0, 100), None);
    assert_eq!(bench.push(2, JobUrgency::Partial, 1, 10, 100), Some(1));
    assert_eq!(bench.push(3, JobUrgency::Partial, 2, 10, 100), None);
    assert_eq!(bench.push(4, JobUrgency::Final, 1, 20, 100), Some(2));
    let order: Vec<_> = std::iter::from_fn(|| bench.pop(1000)).collect();
    assert_eq!(order, [4, 3]);
}

#[test]
fn a_full_queue_refuses_the_newest_but_no_partial() {
    let mut bench = Bench::new(2);
    assert_eq!(bench.push(1, JobUrgency::Final, 1, 0, 100), None);
    assert_eq!(bench.push(2, JobUrgency::Backlog, 2, 0, 100), None);
    assert_eq!(bench.push(3, JobUrgency::Final, 3, 0, 100), Some(3));
    assert_eq!(bench.push(4, JobUrgency::Partial, 4, 0, 100), None);
    assert_eq!(bench.queue.waiting(), 2);
}

#[test]
fn partials_take_a_tenth_of_the_time() {
    let mut bench = Bench::new(10);
    let mut busy = 0;
    let mut now = 0;
    while now < 100_000 {
        bench.push(1, JobUrgency::Partial, 1, now, 1000);
        if bench.pop(now).is_some() {
            let after = bench.at(now + 300);
            bench
                .queue
                .spent_on_partial(after, Duration::from_millis(300));
            busy += 300;
            now += 300;
        }
        now += 20;
    }
    assert!((9_000..=11_500).contains(&busy), "{busy} ms of 100 s");
}

#[test]
fn the_oldest_final_is_the_pressure_and_can_be_taken_out() {
    let mut bench = Bench::new(10);
    bench.push(1, JobUrgency::Final, 1, 100, 50);
    bench.push(2, JobUrgency::Final, 1, 900, 50);
    assert_eq!(bench.queue.oldest(bench.at(1100)), Duration::from_secs(1));
    let than = bench.at(500);
    let old: Vec<_> = bench
        .queue
        .take_older(than)
        .into_iter()
        .map(|(ticket, _)| ticket)
        .collect();
    assert_eq!(old, [1]);
    assert_eq!(
        bench.queue.oldest(bench.at(1100)),
        Duration::from_millis(200)
    );
    assert_eq!(bench.pop(1100), Some(2));
    assert_eq!(bench.queue.oldest(bench.at(1100)), Duration::ZERO);
    assert!(bench.queue.turns.is_empty());
}

proptest! {
    #[test]
    fn every_job_comes_out_once(
        jobs in prop::collection::vec((0u32..3, 0u64..4, 0u64..5_000, 20u64..3_000), 1..60),
        capacity in 1usize..40,
        pops in prop::collection::vec(any::<bool>(), 60),
    ) {
        let mut bench = Bench::new(capacity);
        let mut out = Vec::new();
        for (n, &(kind, call, spoken, ms)) in jobs.iter().enumerate() {
            let urgency = [JobUrgency::Final, JobUrgency::Backlog, JobUrgency::Partial][kind as usize];
            out.extend(bench.push(n as u32, urgency, call, spoken, ms));
            prop_assert!(bench.queue.waiting() <= capacity);
            if pops[n] {
                out.extend(bench.pop(6_000));
            }
        }
        out.extend(std::iter::from_fn(|| bench.pop(6_000)));
        out.sort_unstable();
        prop_assert_eq!(out, (0..jobs.len() as u32).collect::<Vec<_>>());
        prop_assert!(bench.queue.turns.is_empty());
    }
}
