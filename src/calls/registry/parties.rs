//! The parties of a call: who they are, what their legs are called, who is on hold.

use std::time::Instant;

use asterscribe_ari::model::PartyId;
use asterscribe_call::{CallEvent, CallEventKind, CallId, CallOrigin, CallStatus, Leg, LegSides};
use jiff::Timestamp;

use super::record::push_event;
use super::{CallRegistry, RegisteredCall};
use crate::calls::channel::non_empty;
use crate::calls::roles::CallParties;

impl RegisteredCall {
    /// Label of the leg on a `side` of the call's channel; `caller` is the party on the channel
    /// itself.
    fn leg_of(&self, side: &str) -> Leg {
        let sides = self.record.identity.sides.clone();
        let sides = sides.unwrap_or_else(LegSides::of_caller);
        match side {
            "caller" => sides.channel,
            _ => sides.peer,
        }
    }

    /// Enters linkedid and dialled number. Where the channel's application did not tell, the
    /// linkedid decides whether it is the called party's: then it is another channel's id.
    fn identify(&mut self, linkedid: Option<String>, dnid: Option<String>) {
        let undecided = self.undecided.take();
        let is_called = |linkedid: &str| linkedid != self.channel;
        if let Some(channel) = undecided
            && linkedid.as_deref().is_some_and(is_called)
        {
            let parties = CallParties::of(&channel, true);
            self.record.caller_number = non_empty(&parties.caller.number);
            self.record.destination.clone_from(&parties.destination);
            parties.enter(&mut self.record.identity);
            self.is_called = true;
        }
        let is_called = self.is_called;
        let record = &mut self.record;
        record.identity.linkedid = linkedid.or_else(|| record.identity.linkedid.take());
        // Of a call that we place it is known; a called party's channel has its own number.
        let is_wanted = record.origin != CallOrigin::Initiated && !is_called;
        if let Some(dnid) = dnid.filter(|_| is_wanted) {
            record.destination = Some(dnid);
        }
    }

    /// Whether a line that begins at `start_ms` was spoken before the call was answered.
    pub(super) fn is_early(&self, start_ms: u64) -> bool {
        let answered_ms = self.answered.map(|answered| self.at_ms(answered));
        self.record.origin.is_on_asterisk() && answered_ms.is_none_or(|at| start_ms < at)
    }
}

impl CallRegistry {
    pub(crate) fn answered(&mut self, call: &CallId, now: Instant, wall: Timestamp) {
        self.change(call, |entry| {
            entry.answered.get_or_insert(now);
            entry.record.status = CallStatus::Active;
            entry.record.answered_at.get_or_insert(wall);
        });
    }

    /// Label of the leg on a `side` of an open call's channel.
    pub(crate) fn leg_of(&self, call: &CallId, side: &str) -> Leg {
        let entry = self.open.get(call);
        entry.map_or_else(Leg::caller, |entry| entry.leg_of(side))
    }

    /// Enters more about who called whom.
    pub(crate) fn identify(
        &mut self,
        call: &CallId,
        linkedid: Option<String>,
        dnid: Option<String>,
    ) {
        self.change(call, |entry| entry.identify(linkedid, dnid));
    }

    /// Enters the party that the call's channel is connected to.
    pub(crate) fn connected_to(&mut self, call: &CallId, party: PartyId) {
        self.change(call, |entry| {
            let is_called = entry.is_called;
            let record = &mut entry.record;
            let (name, number) = (non_empty(&party.name), non_empty(&party.number));
            if is_called {
                // Who called stays who called.
                let identity = &mut record.identity;
                record.caller_number = record.caller_number.take().or(number);
                identity.caller_name = identity.caller_name.take().or(name);
            } else {
                record.identity.connected_name = name;
                record.identity.connected_number = number;
            }
        });
    }

    /// Enters an event about the parties of a call.
    pub(crate) fn party_event(
        &mut self,
        call: &CallId,
        at: Instant,
        kind: CallEventKind,
        leg: Option<Leg>,
        text: String,
    ) {
        self.change(call, |entry| {
            let at_ms = entry.at_ms(at);
            let event = CallEvent {
                at_ms,
                kind,
                leg,
                text,
            };
            push_event(&mut entry.record, event);
        });
    }

    /// Enters that a party has put the other on hold, or taken it off.
    pub(crate) fn hold(&mut self, call: &CallId, leg: Leg, is_on: bool) {
        if let Some(entry) = self.open.get_mut(call) {
            entry.on_hold.retain(|held| *held != leg);
            if is_on {
                entry.on_hold.push(leg);
            }
        }
    }

    /// Whether a leg is on hold: what comes from it is nobody's speech.
    pub(crate) fn is_on_hold(&self, call: &CallId, leg: &Leg) -> bool {
        let entry = self.open.get(call);
        entry.is_some_and(|entry| entry.on_hold.contains(leg))
    }
}
