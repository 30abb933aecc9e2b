//! The ways in: a channel that enters our application, a call we place; and what every
//! way shares.

use std::time::Instant;

use serde_json::Value;
use tracing::info;

use super::call::{CallStage, ChannelSubscription, ControlledCall, ObjectOwner, SetupRequest};
use super::config::CallKind;
use super::io::{CommandKind, ControlNotice, RequestFailure};
use super::party_look::PartyIdentity;
use super::peer::{BridgeStay, PeerTie};
use super::ports::CallEntry;
use super::replies::read;
use super::teardown::{AriObject, ObjectTeardown, TeardownAction, TeardownRank};
use super::{CallControl, RequestPurpose};
use crate::model::{AriChannel, PartyId};
use crate::request::{AriRequest, OriginateRequest};

/// Removals beyond what the calls themselves can cause; callers that find no place here,
/// either, are found by the next listing.
const MAX_TURNED_AWAY: usize = 1024;
/// Reason given to a call beyond [`ControlConfig::max_calls`](super::ControlConfig::max_calls).
const NO_PLACE: &str = "all call places are taken";
/// Longest id that is taken for one; Asterisk's own limit is 150 bytes.
const MAX_ID: usize = 150;

impl CallControl {
    /// A channel is in our application and nobody has it yet.
    pub(super) fn open_stasis(
        &mut self,
        channel: AriChannel,
        resumed: bool,
        hold: Option<u64>,
        now: Instant,
    ) {
        match self.refusal(resumed) {
            Some(refusal) => self.turn_away(channel, refusal, now),
            None => {
                let id = channel.id.clone();
                self.enter(&id, CallEntry::Stasis { channel, resumed }, hold, now);
            }
        }
    }

    /// Why no call can be taken, if none can. One that was ours before is not a new one.
    pub(super) fn refusal(&self, resumed: bool) -> Option<String> {
        if self.stopping {
            Some("the server is shutting down".to_owned())
        } else if self.is_full() {
            Some(NO_PLACE.to_owned())
        } else {
            self.closed.clone().filter(|_| !resumed)
        }
    }

    /// Claims a channel that is offered to several applications, if there is room for one more.
    pub(super) fn claim(&mut self, channel: &str, now: Instant) {
        let claims = self.pending.values();
        let claims = claims.filter(|pending| matches!(pending.purpose, RequestPurpose::Claim));
        let taken = self.open_calls() + self.taken_elsewhere + claims.count();
        if !self.is_connected() || self.refusal(false).is_some() || taken >= self.config.max_calls {
            return;
        }
        let app = self.config.app.clone();
        let channel = channel.to_owned();
        self.send(
            AriRequest::Claim { app, channel },
            RequestPurpose::Claim,
            now,
        );
    }

    /// Lets a caller go on in the dialplan: the call is not harmed by our being full.
    pub(super) fn turn_away(&mut self, channel: AriChannel, text: String, now: Instant) {
        if self.removals.len() >= MAX_TURNED_AWAY + 8 * self.config.max_calls {
            self.audit_soon(now);
            return;
        }
        info!(channel = %channel.id, text, "the caller goes on in the dialplan");
        self.stats.turned_away += 1;
        self.send_on(&channel);
        self.notice(ControlNotice::CallTurnedAway {
            channel: Box::new(channel),
            text,
        });
    }

    /// Sends a channel back to its dialplan.
    pub(super) fn send_on(&mut self, channel: &AriChannel) {
        let group = self.next_serial();
        let removal = ObjectTeardown::new(TeardownAction::Continue, TeardownRank::Party, group)
            .of(PartyIdentity::of(channel, &self.config.app));
        self.remove(AriObject::Channel(channel.id.clone()), removal);
    }

    /// Places a call.
    pub(super) fn originate(&mut self, mut originate: OriginateRequest, now: Instant) {
        let call = originate.channel.clone();
        if let Err((status, message)) = self.admit(&call) {
            self.refuse(CommandKind::Originate, call, status, message);
            return;
        }
        if originate.formats.is_none() && originate.endpoint.starts_with("Local/") {
            // Left alone a Local channel runs at 192 kHz: five times the load.
            originate.formats = Some(self.config.format.clone());
        }
        self.forget_departure(&call);
        self.enter(&call, CallEntry::Originate(originate), None, now);
    }

    pub(super) fn ask_originate(&mut self, originate: OriginateRequest, now: Instant) {
        let call = originate.channel.clone();
        self.send(
            AriRequest::Originate(originate),
            RequestPurpose::Originate { call },
            now,
        );
    }

    pub(super) fn on_originated(
        &mut self,
        id: &str,
        result: Result<Value, RequestFailure>,
        now: Instant,
    ) {
        match read::<AriChannel>(result) {
            Ok(channel) => self.ensure_opened(id, &channel, now),
            Err(failure) => self.refuse_asking(id, &failure),
        }
    }

    /// The call we placed exists. Whichever of reply and events comes first tells.
    pub(super) fn ensure_opened(&mut self, id: &str, channel: &AriChannel, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if matches!(call.stage, CallStage::Asking(SetupRequest::Originate)) {
            call.stage = CallStage::Ringing {
                until: now + self.config.ring_timeout,
            };
            call.epoch = self.epoch;
            // The request that placed it has subscribed us.
            call.following = ChannelSubscription::Yes;
            self.tell_opened(id, channel, false);
            self.notice(ControlNotice::CommandAccepted {
                command: CommandKind::Originate,
                call: id.to_owned(),
            });
        }
    }

    /// The channel of a call that is known entered our application.
    pub(super) fn party_entered(&mut self, id: &str, channel: AriChannel, now: Instant) {
        if self.is_another(&channel) {
            // The end of the one before was missed.
            self.close(id);
            self.open_stasis(channel, false, None, now);
            return;
        }
        self.ensure_opened(id, &channel, now);
        let PartyIdentity { moved_from, .. } = PartyIdentity::of(&channel, &self.config.app);
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        match (call.kind, &call.stage) {
            (CallKind::Initiated, CallStage::Ringing { .. }) => {
                call.stage = CallStage::Active;
                call.in_stasis = true;
                call.moved_from = moved_from;
                let held = call.hold.is_some();
                if channel.is_up() {
                    self.mark_answered(id);
                }
                if !held {
                    self.open_legs(id, now);
                }
            }
            // It left and came back before its end was told; nobody asked for this one.
            (_, CallStage::Ending(_)) => {
                self.close(id);
                self.open_stasis(channel, false, None, now);
            }
            // Its dialplan sends it to us as well; it is listened to already.
            (CallKind::Tap, _) => self.send_on(&channel),
            _ => {}
        }
    }

    /// Ends a call that was still being asked for: the failure is reported, and whatever Asterisk
    /// may have made of it is removed.
    pub(super) fn refuse_asking(&mut self, id: &str, failure: &RequestFailure) {
        let Some(ControlledCall {
            stage: CallStage::Asking(asking),
            ..
        }) = self.calls.get(id)
        else {
            return;
        };
        let (command, resumed) = match asking {
            SetupRequest::Ports { .. } => {
                // A caller among them is gone or sent on by whoever asks for this.
                self.refuse_entry(id, failure);
                return;
            }
            SetupRequest::Originate => (CommandKind::Originate, false),
            SetupRequest::Tap { resumed, .. } => (CommandKind::Tap, *resumed),
        };
        // A refusal made nothing, and a refused id may be somebody else's channel. Silence proves nothing.
        if !matches!(failure, RequestFailure::Refused { .. }) {
            let group = self.next_serial();
            match command {
                CommandKind::Originate => {
                    self.remove(
                        AriObject::Channel(id.to_owned()),
                        ObjectTeardown::new(TeardownAction::Delete, TeardownRank::Party, group),
                    );
                }
                CommandKind::Tap | CommandKind::Find | CommandKind::Hangup => {
                    self.unsubscribe(id, group);
                }
            }
        }
        self.forget_call(id);
        if resumed {
            self.tell_not_resumed(id, failure);
        } else {
            self.refuse_for(command, id, failure);
        }
    }

    /// A call of an earlier process is not taken up again. One that we found by ourselves is none
    /// that anybody knows.
    pub(super) fn tell_not_resumed(&mut self, id: &str, failure: &RequestFailure) {
        if !self.recalled.remove(id) {
            return;
        }
        self.stats.ended += 1;
        self.notice(ControlNotice::CallEnded {
            call: id.to_owned(),
            cause: None,
            text: failure.to_string(),
        });
    }

    pub(super) fn refuse_for(&mut self, command: CommandKind, id: &str, failure: &RequestFailure) {
        let (call, message) = (id.to_owned(), failure.to_string());
        match failure {
            RequestFailure::NoPort(text) => self.notice(ControlNotice::CommandLacksPort {
                command,
                call,
                message: text.clone(),
            }),
            _ => self.refuse(command, call, failure.status(), message),
        }
    }

    pub(super) fn refuse(
        &mut self,
        command: CommandKind,
        call: String,
        status: Option<u16>,
        message: String,
    ) {
        self.notice(ControlNotice::CommandRefused {
            command,
            call,
            status,
            message,
        });
    }

    /// Whether a command may open a call of this id.
    pub(super) fn admit(&self, call: &str) -> Result<(), (Option<u16>, String)> {
        let no = |status: u16, message: &str| Err((Some(status), message.to_owned()));
        if self.stopping {
            no(503, "the server is shutting down")
        } else if self.is_replaced() {
            no(503, "another server has taken the application over")
        } else if !self.is_connected() {
            Err((None, "Asterisk is not connected".to_owned()))
        } else if call.is_empty() || call.len() > MAX_ID {
            no(422, "a call id has 1 to 150 bytes")
        } else if self.calls.contains_key(call) {
            no(409, "this call is open already")
        } else if self.owners.contains_key(call)
            || self
                .removals
                .contains_key(&AriObject::Channel(call.to_owned()))
        {
            no(409, "this channel is one of our own")
        } else if self.is_full() {
            no(503, NO_PLACE)
        } else if let Some(reason) = &self.closed {
            no(503, reason)
        } else {
            Ok(())
        }
    }

    pub(super) fn insert_call(&mut self, id: &str, kind: CallKind, stage: CallStage) {
        let target = self.next_target % self.config.targets.len();
        self.next_target = target + 1;
        let call = ControlledCall {
            kind,
            target,
            epoch: self.epoch,
            stage,
            answered: false,
            created_at: None,
            moved_from: None,
            gone: false,
            connected: PartyId::default(),
            bridge: BridgeStay::Unknown,
            peer: PeerTie::Nobody,
            on_hold: Vec::new(),
            in_stasis: false,
            legs: Vec::new(),
            ports: Vec::new(),
            variables: None,
            renewals: 0,
            hold: None,
            taken_down: None,
            following: ChannelSubscription::No,
        };
        self.owners.insert(
            id.to_owned(),
            ObjectOwner::Party {
                call: id.to_owned(),
            },
        );
        self.calls.insert(id.to_owned(), call);
    }

    pub(super) fn tell_opened(&mut self, id: &str, channel: &AriChannel, resumed: bool) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        call.created_at = channel.created_at();
        let (kind, target) = (call.kind, call.target);
        self.recalled.remove(id);
        info!(call = id, ?kind, resumed, "call opened");
        self.stats.opened += 1;
        let channel_box = Box::new(channel.clone());
        self.notice(ControlNotice::CallOpened {
            call: id.to_owned(),
            kind,
            target,
            channel: channel_box,
            resumed,
        });
        if channel.is_up() {
            self.mark_answered(id);
        }
    }

    /// Whether this is not the channel that the call of its id was opened with.
    pub(super) fn is_another(&self, channel: &AriChannel) -> bool {
        let call = self.calls.get(&channel.id);
        call.is_some_and(|call| channel.is_another(call.created_at))
    }

    pub(super) fn mark_answered(&mut self, id: &str) {
        if let Some(call) = self.calls.get_mut(id)
            && !call.answered
        {
            call.answered = true;
            self.notice(ControlNotice::CallAnswered {
                call: id.to_owned(),
            });
        }
    }
}
