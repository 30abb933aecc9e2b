//! Commands to Asterisk whose outcome is still to come, without I/O.
//!
//! An entry goes when the outcome comes, and not when whoever asked stops
//! waiting: the command is on its way all the same. Should no outcome come at
//! all, the entry goes at its time; nothing blocks a call's id for ever.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use asterscribe_ari::control::CommandKind;
use asterscribe_call::{CallChoices, Leg, LegSides};
use tokio::sync::oneshot;

use crate::service::{InitiateRequest, ServiceError, TranscribeRequest};

/// How long an entry stays without an outcome: longer than anybody waits for one.
const KEEP: Duration = Duration::from_secs(15);

/// Asterisk's id of the channel concerned, or the reason of the failure.
pub(super) type CommandOutcome = Result<String, ServiceError>;

/// The command that opens a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AskedCommand {
    /// Place the call.
    Initiate(InitiateRequest),
    /// Tap the call.
    Transcribe(TranscribeRequest),
}

impl AskedCommand {
    /// Labels that the request gives the legs, if it does.
    pub(super) fn sides(&self) -> Option<LegSides> {
        match self {
            Self::Initiate(request) => request.leg.clone().map(|channel| LegSides {
                channel,
                peer: Leg::caller(),
            }),
            Self::Transcribe(request) => request.legs.clone(),
        }
    }

    pub(super) fn recognition(&self) -> &CallChoices {
        match self {
            Self::Initiate(request) => &request.recognition,
            Self::Transcribe(request) => &request.recognition,
        }
    }
}

/// Commands under way.
#[derive(Debug, Default)]
pub(super) struct PendingCommands {
    /// Commands by the name that Asterisk's side has for the channel concerned.
    waiting: HashMap<String, WaitingCommand>,
}

#[derive(Debug)]
struct WaitingCommand {
    kind: CommandKind,
    /// Request of the command, if it opens a call.
    asked: Option<AskedCommand>,
    outcome: oneshot::Sender<CommandOutcome>,
    until: Instant,
}

impl PendingCommands {
    /// Enters a command; `None` if another one about that call is under way.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        channel: &str,
        kind: CommandKind,
        asked: Option<AskedCommand>,
    ) -> Option<oneshot::Receiver<CommandOutcome>> {
        self.waiting.retain(|_, waiting| waiting.until > now);
        if self.waiting.contains_key(channel) {
            return None;
        }
        let (outcome, answer) = oneshot::channel();
        let until = now + KEEP;
        self.waiting.insert(
            channel.to_owned(),
            WaitingCommand {
                kind,
                asked,
                outcome,
                until,
            },
        );
        Some(answer)
    }

    /// Hands a command its outcome and removes it.
    pub(super) fn settle(&mut self, channel: &str, kind: CommandKind, outcome: CommandOutcome) {
        if self
            .waiting
            .get(channel)
            .is_some_and(|waiting| waiting.kind == kind)
            && let Some(waiting) = self.waiting.remove(channel)
        {
            // Whoever asked may have stopped waiting; the call's own notices follow all the same.
            let _unheard = waiting.outcome.send(outcome);
        }
    }

    /// Request of the command that opens a call on that channel, if one is under way.
    pub(super) fn asked(&self, channel: &str) -> Option<AskedCommand> {
        self.waiting.get(channel)?.asked.clone()
    }

    /// Commands under way that open a call which is not `known` yet: each will take a place.
    pub(super) fn places(&self, now: Instant, known: impl Fn(&str) -> bool) -> usize {
        let opens = |(channel, waiting): &(&String, &WaitingCommand)| {
            let kind = waiting.kind;
            let is_to_open = matches!(kind, CommandKind::Originate | CommandKind::Tap);
            waiting.until > now && is_to_open && !known(channel)
        };
        self.waiting.iter().filter(opens).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use asterscribe_clock as clock;

    #[test]
    fn who_stops_waiting_neither_frees_nor_blocks_the_call_for_ever() {
        let (mut pending, now) = (PendingCommands::default(), clock::now());
        let request = InitiateRequest {
            caller_number: "1".into(),
            destination: "2".into(),
            leg: None,
            recognition: CallChoices::default(),
        };
        let request = AskedCommand::Initiate(request);
        let answer = pending.begin(now, "a", CommandKind::Originate, Some(request.clone()));
        drop(answer.unwrap());
        // The command is on its way: its place is taken, its numbers are known.
        assert_eq!(pending.places(now, |_| false), 1);
        assert_eq!(pending.asked("a"), Some(request));
        assert!(
            pending
                .begin(now, "a", CommandKind::Originate, None)
                .is_none()
        );
        // Without an outcome it goes by itself.
        let later = now + KEEP;
        assert_eq!(pending.places(later, |_| false), 0);
        assert!(
            pending
                .begin(later, "a", CommandKind::Originate, None)
                .is_some()
        );
    }

    #[test]
    fn an_outcome_reaches_its_own_command_only() {
        let (mut pending, now) = (PendingCommands::default(), clock::now());
        let mut answer = pending.begin(now, "a", CommandKind::Hangup, None).unwrap();
        pending.settle("a", CommandKind::Tap, Ok("a".to_owned()));
        assert!(answer.try_recv().is_err(), "a late word on an earlier tap");
        pending.settle("a", CommandKind::Hangup, Ok("a".to_owned()));
        assert_eq!(answer.try_recv(), Ok(Ok("a".to_owned())));
        assert!(pending.begin(now, "a", CommandKind::Tap, None).is_some());
    }

    #[test]
    fn a_hang_up_and_a_call_that_is_open_take_no_further_place() {
        let (mut pending, now) = (PendingCommands::default(), clock::now());
        let _hangup = pending.begin(now, "a", CommandKind::Hangup, None);
        let _tap = pending.begin(now, "b", CommandKind::Tap, None);
        assert_eq!(pending.places(now, |_| false), 1);
        assert_eq!(pending.places(now, |call| call == "b"), 0);
    }
}
