//! Notices of Asterisk's side about commands and open calls, and their effect.

use asterscribe_ari::control::{CommandKind, ControlNotice};
use asterscribe_clock as clock;

use super::party::PartyNews;
use super::{CallManager, lock};
use crate::service::ServiceError;

impl CallManager {
    /// Passes the outcome of a command on to whoever waits for it.
    pub(super) fn answered(&self, answer: ControlNotice) {
        let (call, command, outcome) = match answer {
            ControlNotice::CommandAccepted { command, call } => (call.clone(), command, Ok(call)),
            ControlNotice::ChannelFound { name, channel } => (name, CommandKind::Find, Ok(channel)),
            ControlNotice::CommandRefused {
                command,
                call,
                status,
                message,
            } => {
                let refusal = refusal(&call, command, status, message);
                (call, command, Err(refusal))
            }
            ControlNotice::CommandLacksPort {
                command,
                call,
                message,
            } => (call, command, Err(ServiceError::NoRtpPort(message))),
            _ => return,
        };
        lock(&self.asterisk.pending).settle(&call, command, outcome);
    }

    /// Handles a notice about a call that is open, or about none.
    pub(super) fn hear_of_call(&self, notice: ControlNotice) {
        let on = |channel: &str| self.registry(|registry| registry.call_on(channel));
        match notice {
            ControlNotice::CallVariables { call, found } => {
                if let Some(call) = on(&call) {
                    self.variables_told(&call, found);
                }
            }
            ControlNotice::LegFailed { call, leg, text } => {
                tracing::warn!(call, leg, text, "a leg has no media");
                if let Some(call) = on(&call) {
                    self.registry(|registry| {
                        let leg = registry.leg_of(&call, leg);
                        registry.note(&call, format!("leg {leg}: {text}"));
                    });
                }
            }
            ControlNotice::CallAnswered { call } => {
                if let Some(call) = on(&call) {
                    self.registry(|registry| registry.answered(&call, clock::now(), clock::wall()));
                }
            }
            ControlNotice::StateChange { call, state, .. } => {
                if let Some(call) = on(&call) {
                    self.registry(|registry| registry.channel_state(&call, clock::now(), state));
                }
            }
            ControlNotice::CallGivenUp { call } => {
                if let Some(call) = on(&call) {
                    self.registry(|registry| registry.give_up(&call));
                }
            }
            ControlNotice::ChannelGone { call } => {
                if let Some(call) = on(&call) {
                    self.registry(|registry| registry.channel_gone(&call));
                }
            }
            ControlNotice::Dtmf {
                call,
                leg,
                digit,
                duration_ms,
                at,
            } => {
                if let Some(call) = on(&call) {
                    self.registry(|registry| {
                        let leg = registry.leg_of(&call, leg);
                        registry.digit(&call, at, digit, duration_ms, leg);
                    });
                }
            }
            ControlNotice::PartyMayDiffer {
                call,
                leg,
                change,
                by,
                connected,
                at,
            } => {
                if let Some(call) = on(&call) {
                    let news = PartyNews {
                        leg,
                        change,
                        by,
                        connected,
                        at,
                    };
                    self.party_may_differ(&call, news);
                }
            }
            of_no_call => self.remark(&of_no_call),
        }
    }
}

fn refusal(
    channel: &str,
    command: CommandKind,
    status: Option<u16>,
    message: String,
) -> ServiceError {
    match (command, status) {
        (CommandKind::Tap | CommandKind::Find | CommandKind::Hangup, Some(404)) => {
            ServiceError::UnknownChannel(channel.to_owned())
        }
        (_, Some(409)) => ServiceError::Conflict(message),
        (_, Some(503)) => ServiceError::AsteriskUnavailable(message),
        (_, Some(_)) => ServiceError::AsteriskRefused(message),
        (_, None) => ServiceError::AsteriskUnavailable(message),
    }
}
