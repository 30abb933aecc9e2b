//! RTP addresses that legs have to themselves, where they do.
//!
//! Whoever keeps the ports is asked for those of all of a call's legs before anything else is done
//! for the call: what gets none is turned away while nothing has begun. A leg whose media is made
//! anew asks for one more, and keeps its own if there is none. Of every address that was given it
//! is told exactly once what became of it: that it is a leg's now, or that it will not be used.

use std::net::SocketAddr;
use std::time::Instant;

use jiff::Timestamp;

use super::call::{CallStage, ChannelSubscription, LegStep, SetupRequest};
use super::config::{CallKind, RecoverCall};
use super::io::{CommandKind, ControlNotice, RequestFailure, RequestId};
use super::party_look::PartyIdentity;
use super::{CallControl, PendingRequest, RequestPurpose};
use crate::model::AriChannel;
use crate::request::OriginateRequest;

/// How a call comes in, and what it then goes on with.
#[derive(Debug)]
pub(super) enum CallEntry {
    Stasis {
        channel: AriChannel,
        /// An earlier process had it open.
        resumed: bool,
    },
    Originate(OriginateRequest),
    Tap,
    ResumedTap(AriChannel),
    ResumedInitiated {
        channel: AriChannel,
        /// The party rings no longer.
        answered: bool,
    },
}

impl CallEntry {
    fn kind(&self) -> CallKind {
        match self {
            Self::Stasis { .. } => CallKind::Stasis,
            Self::Originate(_) | Self::ResumedInitiated { .. } => CallKind::Initiated,
            Self::Tap | Self::ResumedTap(_) => CallKind::Tap,
        }
    }

    /// When its channel was created, where that is known.
    fn created_at(&self) -> Option<Timestamp> {
        match self {
            Self::Stasis { channel, .. }
            | Self::ResumedTap(channel)
            | Self::ResumedInitiated { channel, .. } => channel.created_at(),
            Self::Originate(_) | Self::Tap => None,
        }
    }

    fn legs(&self) -> usize {
        match self.kind() {
            CallKind::Stasis | CallKind::Initiated => 1,
            CallKind::Tap => 2,
        }
    }
}

impl CallControl {
    /// Takes a call in; where legs have addresses of their own, first asks for them.
    pub(super) fn enter(&mut self, id: &str, entry: CallEntry, hold: Option<u64>, now: Instant) {
        let (kind, legs) = (entry.kind(), entry.legs());
        let generation = self.next_serial();
        let entry = Box::new(entry);
        let asking = SetupRequest::Ports { generation, entry };
        self.insert_call(id, kind, CallStage::Asking(asking));
        if let Some(call) = self.calls.get_mut(id) {
            call.hold = hold;
        }
        if self.config.own_ports {
            let call = id.to_owned();
            self.want_ports(id, legs, RequestPurpose::Ports { call, generation }, now);
        } else {
            self.go_on(id, now);
        }
    }

    /// A leg whose call has no address left for it asks for one.
    pub(super) fn want_port(&mut self, id: &str, generation: u64, now: Instant) {
        let call = id.to_owned();
        self.want_ports(id, 1, RequestPurpose::Leg { call, generation }, now);
    }

    fn want_ports(&mut self, id: &str, legs: usize, purpose: RequestPurpose, now: Instant) {
        let Some(target) = self.calls.get(id).map(|call| call.target) else {
            return;
        };
        let request = self.await_answer(purpose, now);
        self.notice(ControlNotice::PortsWanted {
            id: request,
            call: id.to_owned(),
            target,
            legs,
        });
    }

    /// The `Ports` command.
    pub(super) fn on_ports(
        &mut self,
        id: RequestId,
        ports: Result<Vec<SocketAddr>, String>,
        now: Instant,
    ) {
        let purpose = if self.is_for_ports(id) {
            self.pending.remove(&id).map(|pending| pending.purpose)
        } else {
            None
        };
        match (purpose, ports) {
            (Some(RequestPurpose::Ports { call, generation }), Ok(ports)) => {
                if self.is_waiting(&call, generation)
                    && let Some(entry) = self.calls.get_mut(&call)
                {
                    entry.ports = ports;
                    self.go_on(&call, now);
                } else {
                    self.ports_unused(ports);
                }
            }
            (Some(RequestPurpose::Leg { call, generation }), Ok(ports)) => {
                self.leg_gets_port(&call, generation, ports, now);
            }
            (Some(purpose), Err(text)) => {
                self.settle_reply(purpose, Err(RequestFailure::NoPort(text)), now);
            }
            // Whoever asked has gone, or no longer believed in an answer.
            (_, Ok(ports)) => self.ports_unused(ports),
            (None, Err(_)) => {}
        }
    }

    fn is_for_ports(&self, id: RequestId) -> bool {
        match self.pending.get(&id) {
            Some(PendingRequest {
                purpose: RequestPurpose::Ports { .. },
                ..
            }) => true,
            Some(PendingRequest {
                purpose: RequestPurpose::Leg { call, generation },
                ..
            }) => self
                .leg(call, *generation)
                .is_some_and(|leg| leg.step == LegStep::Lease),
            _ => false,
        }
    }

    fn leg_gets_port(
        &mut self,
        id: &str,
        generation: u64,
        mut ports: Vec<SocketAddr>,
        now: Instant,
    ) {
        let answered = self.calls.get(id).is_some_and(|call| call.answered);
        let mut next = None;
        if let Some(leg) = self.leg_mut(id, generation) {
            leg.at = ports.pop();
            next = leg.at.map(|_| leg.first_step(answered));
        }
        self.ports_unused(ports);
        match next {
            Some(step) => self.take_step(id, generation, step, now),
            None => self.fail_leg(id, generation, "it gets no address of its own", now),
        }
    }

    /// Media is made anew and no other address is to be had: the one that the leg had is
    /// open as long as no other takes its place.
    pub(super) fn leg_keeps_port(&mut self, id: &str, generation: u64, now: Instant) {
        let answered = self.calls.get(id).is_some_and(|call| call.answered);
        if let Some(leg) = self.leg_mut(id, generation) {
            leg.at = leg.former.map(|former| former.at);
            leg.keeps_place = true;
            leg.told = true;
            let step = leg.first_step(answered);
            self.take_step(id, generation, step, now);
        }
    }

    /// A call has what it needs, and begins.
    fn go_on(&mut self, id: &str, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let held = call.hold.is_some();
        let app = self.config.app.as_str();
        let next = match call.kind {
            CallKind::Stasis => CallStage::Active,
            CallKind::Initiated => CallStage::Asking(SetupRequest::Originate),
            CallKind::Tap => CallStage::Asking(SetupRequest::Tap {
                channel: None,
                resumed: false,
            }),
        };
        let CallStage::Asking(SetupRequest::Ports { entry, .. }) =
            std::mem::replace(&mut call.stage, next)
        else {
            return;
        };
        match *entry {
            CallEntry::Stasis { channel, resumed } => {
                call.in_stasis = true;
                call.moved_from = PartyIdentity::of(&channel, app).moved_from;
                self.tell_opened(id, &channel, resumed);
                self.follow(id, now);
                if !held {
                    self.open_legs(id, now);
                }
            }
            CallEntry::Originate(originate) => self.ask_originate(originate, now),
            CallEntry::Tap => self.look_up(id, now),
            CallEntry::ResumedTap(channel) => self.subscribe(id, channel, true, now),
            CallEntry::ResumedInitiated { channel, answered } => {
                let until = now + self.config.ring_timeout;
                call.stage = CallStage::Ringing { until };
                call.following = ChannelSubscription::Yes;
                self.tell_opened(id, &channel, true);
                if answered {
                    self.party_entered(id, channel, now);
                }
            }
        }
    }

    /// No addresses for a call: its caller goes on, its command is refused.
    pub(super) fn refuse_ports(
        &mut self,
        id: &str,
        generation: u64,
        failure: &RequestFailure,
        now: Instant,
    ) {
        if self.is_waiting(id, generation)
            && let Some(channel) = self.refuse_entry(id, failure)
        {
            self.turn_away(channel, failure.to_string(), now);
        }
    }

    /// Tells that a call which waits for its addresses does not come about. A channel in our
    /// application is given back, for it is still there.
    pub(super) fn refuse_entry(
        &mut self,
        id: &str,
        failure: &RequestFailure,
    ) -> Option<AriChannel> {
        match self.take_entry(id)? {
            CallEntry::Stasis { channel, resumed } => {
                if resumed {
                    self.tell_not_resumed(id, failure);
                }
                return Some(channel);
            }
            CallEntry::Originate(_) => self.refuse_for(CommandKind::Originate, id, failure),
            CallEntry::Tap => self.refuse_for(CommandKind::Tap, id, failure),
            CallEntry::ResumedTap(_) | CallEntry::ResumedInitiated { .. } => {
                self.tell_not_resumed(id, failure);
            }
        }
        None
    }

    /// The connection broke while the addresses were on their way: what Asterisk has comes
    /// again with the next listing.
    pub(super) fn postpone(&mut self, id: &str, generation: u64) {
        if !self.is_waiting(id, generation) {
            return;
        }
        let broke = || RequestFailure::Unreachable("the connection to Asterisk broke".to_owned());
        let Some(entry) = self.take_entry(id) else {
            return;
        };
        let kind = entry.kind();
        let created_at = entry.created_at();
        match entry {
            CallEntry::Stasis { resumed: false, .. } => {}
            CallEntry::Originate(_) => self.refuse_for(CommandKind::Originate, id, &broke()),
            CallEntry::Tap => self.refuse_for(CommandKind::Tap, id, &broke()),
            CallEntry::Stasis { resumed: true, .. }
            | CallEntry::ResumedTap(_)
            | CallEntry::ResumedInitiated { .. } => self.recover.push(RecoverCall {
                call: id.to_owned(),
                channel: id.to_owned(),
                created_at,
                kind,
            }),
        }
    }

    fn take_entry(&mut self, id: &str) -> Option<CallEntry> {
        if !matches!(
            self.calls.get(id)?.stage,
            CallStage::Asking(SetupRequest::Ports { .. })
        ) {
            return None;
        }
        match self.forget_call(id)?.stage {
            CallStage::Asking(SetupRequest::Ports { entry, .. }) => Some(*entry),
            _ => None,
        }
    }

    /// Whether this is a caller whose addresses are on their way.
    pub(super) fn is_waiting_caller(&self, id: &str) -> bool {
        self.calls.get(id).is_some_and(|call| {
            call.kind == CallKind::Stasis && matches!(call.stage, CallStage::Asking(_))
        })
    }

    fn is_waiting(&self, id: &str, generation: u64) -> bool {
        let stage = self.calls.get(id).map(|call| &call.stage);
        matches!(stage, Some(CallStage::Asking(SetupRequest::Ports { generation: own, .. })) if *own == generation)
    }

    pub(super) fn ports_unused(&mut self, ports: Vec<SocketAddr>) {
        if !ports.is_empty() {
            self.notice(ControlNotice::PortsUnused { ports });
        }
    }
}
