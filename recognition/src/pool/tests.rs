use asterscribe_call::SpokenWord;
use asterscribe_clock as clock;
use asterscribe_speech::DecodeOptions;
use crossbeam_channel::Receiver;

use super::*;
use crate::SpeakerLeg;
use crate::batching::{MOST_TOGETHER, WorkerBatching};
use crate::ladder::{ContextLadder, ContextMargins};
use crate::model::SpeechModel;

/// Says how many samples it got; panics on 13, fails on 14, waits on 15.
struct Counting(Receiver<()>);

impl Transcriber for Counting {
    fn transcribe(
        &mut self,
        samples: &[i16],
        _: &DecodeOptions,
    ) -> Result<Recognition, TranscribeError> {
        match samples.len() {
            13 => panic!("scripted"),
            14 => Err(TranscribeError("scripted".to_owned())),
            n => {
                if n == 15 {
                    self.0.recv().unwrap();
                }
                Ok(Recognition {
                    text: n.to_string(),
                    confidence: 1.0,
                    language: "en".into(),
                    ..Recognition::default()
                })
            }
        }
    }
}

fn config(workers: usize, queue: usize) -> PoolConfig {
    PoolConfig {
        workers,
        queue,
        max_age: None,
    }
}

fn pool(workers: usize, queue: usize) -> (RecognitionPool<usize>, Sender<()>) {
    let (release, gate) = bounded(100);
    let factory: EngineFactory = Arc::new(move |_| Ok(Box::new(Counting(gate.clone()))));
    (
        RecognitionPool::start(config(workers, queue), &factory).unwrap(),
        release,
    )
}

fn task(samples: usize, urgency: JobUrgency) -> RecognitionTask {
    RecognitionTask {
        samples: vec![0; samples],
        choices: Arc::default(),
        urgency,
        speaker: SpeakerLeg::new(samples as u64, 0),
        spoken: clock::now(),
    }
}

fn text(answer: JobAnswer<usize>) -> String {
    answer.result.unwrap().text
}

#[test]
fn every_job_is_answered_once_with_its_own_ticket() {
    let (pool, _release) = pool(3, 100);
    let (reply, answers) = bounded(100);
    for n in 20..80 {
        pool.handle()
            .offer(n, task(n, JobUrgency::Final), &reply)
            .unwrap();
    }
    let mut seen: Vec<usize> = (0..60)
        .map(|_| {
            let answer = answers.recv().unwrap();
            let ticket = answer.ticket;
            assert_eq!(text(answer), ticket.to_string());
            ticket
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (20..80).collect::<Vec<_>>());
}

#[test]
fn a_panic_and_a_failure_are_answers_too_and_the_worker_goes_on() {
    let (pool, _release) = pool(1, 10);
    let (reply, answers) = bounded(10);
    for n in [13, 14, 16] {
        pool.handle()
            .offer(n, task(n, JobUrgency::Final), &reply)
            .unwrap();
    }
    let results: Vec<_> = (0..3).map(|_| answers.recv().unwrap()).collect();
    assert!(results[0].result.is_err() && results[1].result.is_err());
    assert_eq!(results[2].result.as_ref().unwrap().text, "16");
    assert_eq!(pool.stats().failed.load(Ordering::Relaxed), 2);
}

#[test]
fn a_full_queue_refuses_the_newest_and_counts_it() {
    let (pool, release) = pool(1, 2);
    let (reply, answers) = bounded(10);
    // One job holds the worker at the gate, two wait, the rest are refused.
    let mut refused = 0;
    for n in 0..10 {
        if pool
            .handle()
            .offer(n, task(15, JobUrgency::Final), &reply)
            .is_err()
        {
            refused += 1;
        }
    }
    assert!((7..=8).contains(&refused), "{refused}");
    assert_eq!(pool.stats().refused.load(Ordering::Relaxed), refused);
    for _ in 0..10 - refused {
        release.send(()).unwrap();
        text(answers.recv().unwrap());
    }
}

#[test]
fn a_partial_waits_for_finals_and_is_replaced_by_its_own() {
    let (pool, release) = pool(1, 10);
    let (reply, answers) = bounded(10);
    let handle = pool.handle();
    handle
        .offer(0, task(15, JobUrgency::Final), &reply)
        .unwrap();
    // The worker is at the gate with that one once the place is free again.
    while !handle.places.is_empty() {
        thread::yield_now();
    }
    handle
        .offer(1, task(20, JobUrgency::Partial), &reply)
        .unwrap();
    handle
        .offer(2, task(21, JobUrgency::Partial), &reply)
        .unwrap();
    handle
        .offer(3, task(20, JobUrgency::Final), &reply)
        .unwrap();
    release.send(()).unwrap();
    let results: Vec<_> = (0..4).map(|_| answers.recv().unwrap()).collect();
    let tickets: Vec<_> = results.iter().map(|answer| answer.ticket).collect();
    let replaced = tickets.iter().position(|&ticket| ticket == 1).unwrap();
    assert_eq!(results[replaced].result, Err(NotRecognised::Replaced));
    let rest: Vec<_> = tickets.into_iter().filter(|&ticket| ticket != 1).collect();
    assert_eq!(rest, [0, 3, 2]);
    assert_eq!(pool.stats().partials.load(Ordering::Relaxed), 1);
}

#[test]
fn what_waits_too_long_is_answered_with_that() {
    let (release, gate) = bounded(100);
    let factory: EngineFactory = Arc::new(move |_| Ok(Box::new(Counting(gate.clone()))));
    let config = PoolConfig {
        max_age: Some(Duration::from_secs(60)),
        ..config(1, 10)
    };
    let pool = RecognitionPool::start(config, &factory).unwrap();
    let (reply, answers) = bounded(10);
    pool.handle()
        .offer(0, task(15, JobUrgency::Final), &reply)
        .unwrap();
    let old = RecognitionTask {
        spoken: clock::now() - Duration::from_secs(61),
        ..task(16, JobUrgency::Final)
    };
    while !pool.handle().places.is_empty() {
        thread::yield_now();
    }
    pool.handle().offer(1, old, &reply).unwrap();
    let answer = answers.recv().unwrap();
    assert_eq!(
        (answer.ticket, answer.result),
        (1, Err(NotRecognised::TooOld))
    );
    assert_eq!(pool.stats().too_old.load(Ordering::Relaxed), 1);
    release.send(()).unwrap();
    assert_eq!(text(answers.recv().unwrap()), "15");
}

#[test]
fn jobs_that_wait_are_answered_when_the_pool_goes() {
    let (pool, _release) = pool(1, 100);
    let (reply, answers) = bounded(200);
    for n in 20..80 {
        pool.handle()
            .offer(n, task(n, JobUrgency::Final), &reply)
            .unwrap();
    }
    drop((pool, reply));
    assert_eq!(answers.iter().count(), 60);
}

#[test]
fn an_engine_that_cannot_start_stops_the_start() {
    let factory: EngineFactory = Arc::new(|_| Err(TranscribeError("no".to_owned())));
    assert_eq!(
        RecognitionPool::<usize>::start(config(2, 2), &factory).unwrap_err(),
        TranscribeError("no".to_owned())
    );
}

#[test]
fn an_engine_that_panics_while_starting_stops_the_start() {
    let factory: EngineFactory = Arc::new(|_| panic!("scripted"));
    assert!(RecognitionPool::<usize>::start(config(2, 2), &factory).is_err());
}

#[test]
fn an_engine_that_cannot_be_made_anew_fails_its_jobs_and_no_more() {
    let made = AtomicU64::new(0);
    let factory: EngineFactory = Arc::new(move |_| match made.fetch_add(1, Ordering::Relaxed) {
        1 => panic!("scripted"),
        _ => Ok(Box::new(Counting(bounded(0).1))),
    });
    let pool = RecognitionPool::start(config(1, 10), &factory).unwrap();
    let (reply, answers) = bounded(10);
    for n in [13, 16, 17] {
        pool.handle()
            .offer(n, task(n, JobUrgency::Final), &reply)
            .unwrap();
    }
    let results: Vec<_> = (0..3).map(|_| answers.recv().unwrap().result).collect();
    assert!(results[0].is_err() && results[1].is_err());
    assert_eq!(results[2].as_ref().unwrap().text, "17");
}

/// Says a word for each run of samples that are no silence, where it is.
struct Spelling(Receiver<()>);

impl Transcriber for Spelling {
    fn transcribe(
        &mut self,
        samples: &[i16],
        _: &DecodeOptions,
    ) -> Result<Recognition, TranscribeError> {
        if samples.len() == 15 {
            self.0.recv().unwrap();
        }
        let mut words: Vec<SpokenWord> = Vec::new();
        for (n, pair) in samples.windows(2).enumerate() {
            let ms = n as u64 / 16;
            let is_start = n == 0 || pair[0] != pair[1];
            if pair[1] != 0 && is_start {
                words.push(SpokenWord {
                    text: pair[1].to_string(),
                    start_ms: ms,
                    end_ms: ms,
                    probability: 1.0,
                });
            } else if pair[1] != 0
                && let Some(word) = words.last_mut()
            {
                word.end_ms = ms;
            }
        }
        words.retain(|word| word.end_ms > word.start_ms);
        let texts: Vec<_> = words.iter().map(|word| word.text.clone()).collect();
        Ok(Recognition {
            text: texts.join(" "),
            words,
            ..Recognition::default()
        })
    }
}

#[test]
fn under_load_what_waits_of_a_leg_is_recognised_together_and_comes_back_apart() {
    assert_eq!(
        packed_under_load(WorkerBatching::Packed, WorkerBatching::Packed),
        40
    );
}

#[test]
fn whether_that_is_done_follows_the_engines_of_now() {
    assert_eq!(
        packed_under_load(WorkerBatching::Single, WorkerBatching::Packed),
        40
    );
    assert_eq!(
        packed_under_load(WorkerBatching::Packed, WorkerBatching::Single),
        0
    );
}

/// How many utterances share a window, by what is cheaper at the start and then.
fn packed_under_load(at_start: WorkerBatching, then: WorkerBatching) -> u64 {
    let (release, gate) = bounded(100);
    let factory: EngineFactory = Arc::new(move |_| Ok(Box::new(Spelling(gate.clone()))));
    let config = PoolConfig {
        max_age: Some(Duration::from_secs(600)),
        ..config(1, 100)
    };
    let batching = SharedBatching::new(at_start);
    let pool = RecognitionPool::start_for(config, &factory, batching.clone()).unwrap();
    batching.set(then);
    let (handle, stats) = (pool.handle(), pool.stats());
    let (reply, answers) = bounded(100);
    handle
        .offer(0, task(15, JobUrgency::Final), &reply)
        .unwrap();
    while !handle.places.is_empty() {
        thread::yield_now();
    }
    let spoken = clock::now() - Duration::from_secs(5);
    for n in 1..=40 {
        let task = RecognitionTask {
            samples: vec![n; 8000],
            speaker: SpeakerLeg::new(u64::from(n % 2 == 0), 0),
            spoken: spoken + Duration::from_millis(u64::from(n.unsigned_abs())),
            ..task(0, JobUrgency::Final)
        };
        handle.offer(n.unsigned_abs().into(), task, &reply).unwrap();
    }
    // It is behind by now; let it see that before it goes on.
    while stats.step() < OverloadStep::Packing {
        thread::yield_now();
    }
    assert!(
        handle
            .offer(99, task(20, JobUrgency::Partial), &reply)
            .is_err()
    );
    release.send(()).unwrap();
    answers.recv().unwrap();
    let mut heard: Vec<_> = (0..40)
        .map(|_| {
            let answer = answers.recv().unwrap();
            let ticket = answer.ticket;
            (ticket, text(answer))
        })
        .collect();
    heard.sort_unstable();
    let said: Vec<_> = (1..=40).map(|n: usize| (n, n.to_string())).collect();
    assert_eq!(heard, said);
    stats.packed.load(Ordering::Relaxed)
}

/// Says how many utterances it got at once; waits where the first has 15 samples.
struct Grouping(Receiver<()>);

impl Transcriber for Grouping {
    fn transcribe(&mut self, _: &[i16], _: &DecodeOptions) -> Result<Recognition, TranscribeError> {
        Err(TranscribeError("asked for one alone".to_owned()))
    }

    fn transcribe_together(
        &mut self,
        utterances: &[UtteranceRef<'_>],
    ) -> Vec<Result<Recognition, TranscribeError>> {
        if utterances[0].samples.len() == 15 {
            self.0.recv().unwrap();
        }
        let text = utterances.len().to_string();
        let heard = || Recognition {
            text: text.clone(),
            ..Recognition::default()
        };
        utterances.iter().map(|_| Ok(heard())).collect()
    }
}

/// How many were with each of some utterances, that wait while the one worker is busy.
fn company(tasks: Vec<RecognitionTask>) -> Vec<String> {
    let (release, gate) = bounded(1);
    let factory: EngineFactory = Arc::new(move |_| Ok(Box::new(Grouping(gate.clone()))));
    let ladder = ContextLadder::new(
        ContextMargins::new(vec![128]),
        &SpeechModel::demo().unwrap(),
    );
    let batching = SharedBatching::new(WorkerBatching::Together(ladder));
    let pool = RecognitionPool::start_for(config(1, 100), &factory, batching).unwrap();
    let (handle, (reply, answers)) = (pool.handle(), bounded(100));
    handle
        .offer(99, task(15, JobUrgency::Final), &reply)
        .unwrap();
    while !handle.places.is_empty() {
        thread::yield_now();
    }
    let count = tasks.len();
    for (n, task) in tasks.into_iter().enumerate() {
        handle.offer(n, task, &reply).unwrap();
    }
    release.send(()).unwrap();
    answers.recv().unwrap();
    let mut heard: Vec<_> = (0..count)
        .map(|_| {
            let answer = answers.recv().unwrap();
            (answer.ticket, text(answer))
        })
        .collect();
    heard.sort_unstable();
    heard.into_iter().map(|(_, text)| text).collect()
}

#[test]
fn utterances_of_all_calls_that_begin_with_the_same_context_go_together() {
    let seconds = |n: usize| 16_000 * n;
    let of = |samples: usize| task(samples, JobUrgency::Final);
    let prompted = RecognitionTask {
        choices: Arc::new(DecodeOptions {
            prompt: Some("Kowalski".parse().unwrap()),
            ..DecodeOptions::default()
        }),
        ..of(seconds(2))
    };
    let waiting = vec![
        of(seconds(2)),
        of(seconds(5)),
        of(seconds(2) + 100),
        prompted,
        of(seconds(2) - 100),
    ];
    assert_eq!(company(waiting), ["3", "1", "3", "1", "3"]);
}

#[test]
fn no_more_go_together_than_each_of_them_can_wait_for() {
    let many: Vec<_> = (0..20).map(|_| task(32_000, JobUrgency::Final)).collect();
    let company = company(many);
    let most = MOST_TOGETHER.to_string();
    assert_eq!(company.iter().filter(|with| **with == most).count(), 16);
    assert_eq!(company.iter().filter(|with| *with == "4").count(), 4);
}
