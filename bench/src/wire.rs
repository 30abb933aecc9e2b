//! Messages between the conductor and the parts: one JSON value a line, on the parts' standard
//! input and output.

use std::io::{self, BufRead, Write};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::account::FlowAccount;

/// One message.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PartMessage {
    /// A receiver is up and knows of no flow.
    Ready,
    /// The ports that the flows come from.
    Sources(Vec<u16>),
    /// The ports that they go to: one for all, or one each.
    Targets(Vec<u16>),
    /// So many packets have been sent by now.
    Mark(u64),
    /// All has been sent.
    Sent(SentCount),
    /// Counts of a receiver, in answer to `Sent`.
    Received(ReceivedCount),
    /// The order is to be recognised.
    Recognise(SpeechOrder),
    /// The utterance has been recognised.
    Recognised(OrderOutcome),
    /// How a server has held its calls.
    Held(HeldCalls),
}

/// The results of calls with recognition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct HeldCalls {
    /// Calls that the server would hold, by the estimate that it makes when it starts.
    pub(super) estimate: f64,
    /// Latency of each line from the end of speech, milliseconds.
    pub(super) latencies_ms: Vec<f64>,
    /// Wall and CPU time of the server and its workers while packets came.
    pub(super) spent: OrderOutcome,
    /// Losses, and counters that do not balance, in words.
    pub(super) faults: Vec<String>,
}

/// Speech to be recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SpeechOrder {
    /// The first so many utterances, cut out beforehand, all at once.
    Clips {
        /// Number of utterances.
        count: usize,
        /// Whether each is recognised in the encoder's whole window.
        full_context: bool,
    },
    /// One utterance alone.
    Clip(usize),
    /// The call as it comes: packets, segmenter, recognition.
    Live,
    /// All utterances of the call, which have waited: several in one window.
    Backlog,
    /// The whole file in windows of 30 s.
    Windows,
    /// Another engine, or worker set of engines, from the start.
    Start,
}

/// The outcome of an order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OrderOutcome {
    /// Wall time, nanoseconds.
    pub(super) wall_ns: u64,
    /// CPU time of the part's own process.
    pub(super) own_ns: u64,
    /// CPU time of its worker processes.
    pub(super) workers_ns: u64,
    /// Time for which the workers wanted a processor and had none, nanoseconds.
    pub(super) waited_ns: u64,
    /// The words of each job.
    pub(super) texts: Vec<String>,
    /// Jobs without an answer, and counters that do not balance, in words.
    pub(super) faults: Vec<String>,
}

/// The datagrams that a generator has sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SentCount {
    /// Packets that the kernel took. Flow `n` sent one more than the others if
    /// `n` is below `packets % flows`.
    pub(super) packets: u64,
    /// Flows that they belong to.
    pub(super) flows: u64,
    /// Packets that the kernel refused.
    pub(super) refused: u64,
    /// How far the schedule was put off because the sender itself was held up, microseconds.
    pub(super) slipped_us: u64,
}

impl SentCount {
    /// Packets that flow `n` has sent.
    pub(super) fn flow(&self, n: u64) -> FlowAccount {
        let flows = self.flows.max(1);
        FlowAccount {
            packets: self.packets / flows + u64::from(n < self.packets % flows),
            slipped_us: self.slipped_us,
        }
    }
}

/// The datagrams that a receiver has received.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReceivedCount {
    /// Datagrams taken from the socket.
    pub(super) datagrams: u64,
    /// Counters that do not balance, in words. Not every receiver keeps any.
    #[serde(default)]
    pub(super) faults: Vec<String>,
    /// Utterances that it had recognised.
    #[serde(default)]
    pub(super) utterances: u64,
}

/// Sends a message to the conductor.
pub(super) fn say(message: &PartMessage) -> Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, message)?;
    writeln!(out)?;
    out.flush().context("the conductor has gone")
}

/// Next message of the conductor.
pub(super) fn hear() -> Result<PartMessage> {
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        bail!("the conductor has gone");
    }
    parse(&line)
}

/// Reads one line.
pub(super) fn parse(line: &str) -> Result<PartMessage> {
    serde_json::from_str(line).with_context(|| format!("not understood: {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flow_has_sent_its_share_and_they_add_up() {
        let sent = SentCount {
            packets: 1_003,
            flows: 10,
            ..SentCount::default()
        };
        assert_eq!((sent.flow(2).packets, sent.flow(3).packets), (101, 100));
        assert_eq!((0..10).map(|n| sent.flow(n).packets).sum::<u64>(), 1_003);
    }

    #[test]
    fn a_line_is_what_other_languages_write() {
        let PartMessage::Received(received) = parse(r#"{"received": {"datagrams": 3}}"#).unwrap()
        else {
            panic!("another message");
        };
        assert_eq!(received.datagrams, 3);
        assert!(matches!(parse("\"ready\"\n").unwrap(), PartMessage::Ready));
        assert!(parse("ready").is_err());
    }
}
