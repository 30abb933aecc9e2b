//! A look at a party before anything is done to its channel. Channels have ids that whoever
//! dials may choose again, and anybody may send a party elsewhere: who is hung up or sent on must
//! be whom we meant, and must still be with us.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::Value;
use tracing::{debug, info};

use super::call::{CallStage, ControlledCall};
use super::io::{CommandKind, ControlNotice, RequestFailure};
use super::one_by_one::cannot_be_listed;
use super::replies::read;
use super::teardown::{AriObject, TeardownAction};
use super::{CallControl, RequestPurpose};
use crate::model::AriChannel;
use crate::request::AriRequest;

/// Marks of a party, beside the id of its channel.
#[derive(Debug, Clone, Default)]
pub(super) struct PartyIdentity {
    /// When its channel was created, where that is known.
    pub(super) created_at: Option<Timestamp>,
    /// The other application that its `Stasis()` named when it came to us: it had been moved.
    pub(super) moved_from: Option<String>,
}

impl PartyIdentity {
    /// Identity of a channel that is with us.
    pub(super) fn of(channel: &AriChannel, app: &str) -> Self {
        let other = channel.stasis_app().filter(|named| *named != app);
        Self {
            created_at: channel.created_at(),
            moved_from: other.map(str::to_owned),
        }
    }

    /// Whether a channel of its id is another party's.
    pub(super) fn is_another(&self, channel: &AriChannel) -> bool {
        channel.is_another(self.created_at)
    }

    /// Whether the channel's description puts it outside the application `app`, and not on its way
    /// there. Asterisks that do not tell what a channel executes never do.
    pub(super) fn is_elsewhere(&self, channel: &AriChannel, app: &str) -> bool {
        match channel.stasis_app() {
            Some(named) => named != app && self.moved_from.as_deref() != Some(named),
            None => {
                let talks = matches!(channel.state.as_str(), "Up" | "Ring");
                talks && !channel.seems_in_stasis() && !channel.is_being_placed()
            }
        }
    }
}

impl ControlledCall {
    pub(super) fn identity(&self) -> PartyIdentity {
        PartyIdentity {
            created_at: self.created_at,
            moved_from: self.moved_from.clone(),
        }
    }
}

impl CallControl {
    pub(super) fn look_at_party(&mut self, channel: &str, now: Instant) {
        let channel = channel.to_owned();
        let purpose = RequestPurpose::PartyLook(channel.clone());
        self.send(AriRequest::GetChannel { channel }, purpose, now);
    }

    pub(super) fn on_party_looked(
        &mut self,
        id: &str,
        result: Result<Value, RequestFailure>,
        now: Instant,
    ) {
        let object = AriObject::Channel(id.to_owned());
        let Some(removal) = self.removals.get(&object).filter(|r| r.is_looking()) else {
            return;
        };
        match read::<AriChannel>(result) {
            Ok(channel) if removal.identity.is_another(&channel) => {
                debug!(id, "its id is another channel's by now");
                self.finish_removal(&object);
                self.audit_soon(now);
            }
            Ok(channel) if removal.identity.is_elsewhere(&channel, &self.config.app) => {
                match removal.action {
                    TeardownAction::Delete => self.release_party(id),
                    // It has gone on already.
                    TeardownAction::Continue => self.finish_removal(&object),
                }
            }
            Ok(_) => self.ask_removal(object, now),
            Err(failure) if failure.status() == Some(404) => self.finish_removal(&object),
            // It is there, and that is all that Asterisk can tell.
            Err(failure) if cannot_be_listed(&failure) => self.ask_removal(object, now),
            Err(failure) => self.removal_failed(&object, &Err(failure), now),
        }
    }

    /// A party who was to be hung up talks to others now, and is left to them.
    fn release_party(&mut self, id: &str) {
        info!(channel = id, "has left the application; not hung up");
        let removal = self.take_removal(&AriObject::Channel(id.to_owned()));
        self.forget_departure(id);
        if let Some(call) = removal.and_then(|removal| removal.hangup) {
            self.notice(ControlNotice::CommandRefused {
                command: CommandKind::Hangup,
                call,
                status: Some(409),
                message: "the channel has left the application".to_owned(),
            });
        }
        if let Some(call) = self.calls.get_mut(id)
            && let CallStage::Ending(ending) = &mut call.stage
        {
            ending.reason = None;
            self.close(id);
        }
    }
}
