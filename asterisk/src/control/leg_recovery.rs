//! Failures of a leg after its set-up: lost media is made anew, a leg that cannot have media is
//! given up, and a broken connection leaves the decision to the next listing.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;
use tracing::{debug, warn};

use super::call::{CallStage, HangupSign, LegAddress, LegStep};
use super::io::{ControlNotice, RequestFailure};
use super::{CallControl, RequestPurpose};
use crate::request::AriRequest;

/// How often a call's lost media is made anew.
const RENEWALS: u32 = 5;

impl CallControl {
    /// A media channel ended while its call goes on.
    pub(super) fn media_gone(&mut self, id: &str, generation: u64, now: Instant) {
        match self.leg(id, generation).map(|leg| leg.step) {
            Some(LegStep::Up) => {
                self.renew_leg(id, generation, "its media was lost too often", now)
            }
            Some(LegStep::Lost) | None => {}
            Some(_) => self.fail_leg(
                id,
                generation,
                "the media channel ended while it was set up",
                now,
            ),
        }
    }

    /// A Snoop ended. It does so with the channel that it spies on, and when somebody hangs it up.
    pub(super) fn snoop_gone(&mut self, id: &str, generation: u64, now: Instant) {
        let is_looked = self.pending.values().any(|pending| {
            matches!(&pending.purpose, RequestPurpose::Tapped { generation: g, .. } if *g == generation)
        });
        let step = self.leg(id, generation).map(|leg| leg.step);
        if is_looked || matches!(step, Some(LegStep::Lost) | None) {
            return;
        }
        let (channel, call) = (id.to_owned(), id.to_owned());
        let purpose = RequestPurpose::Tapped { call, generation };
        self.send(AriRequest::GetChannel { channel }, purpose, now);
    }

    pub(super) fn on_tapped_looked(
        &mut self,
        id: &str,
        generation: u64,
        found: &Result<Value, RequestFailure>,
        now: Instant,
    ) {
        match found {
            Err(failure) if failure.status() == Some(404) => {
                self.begin_end(id, HangupSign::Left, now)
            }
            _ => self.renew_leg(id, generation, "its Snoop was hung up too often", now),
        }
    }

    /// The media plane cannot hear a leg where Asterisk sends from.
    pub(super) fn misplaced(
        &mut self,
        id: &str,
        label: &str,
        source: SocketAddr,
        text: &str,
        now: Instant,
    ) {
        let legs = self.calls.get_mut(id).map(|call| call.legs.iter_mut());
        let mut legs = legs.into_iter().flatten();
        // Its call may be over.
        let Some(leg) = legs.find(|leg| leg.label == label) else {
            return;
        };
        if leg.source != Some(source) {
            // Its media has been made anew already: perhaps to be heard where nothing is open.
            let was_there = |former: &mut LegAddress| former.source == source;
            let is_closed = leg.former.take_if(was_there).is_some();
            if !is_closed || !leg.keeps_place {
                return;
            }
        }
        // Whatever was opened for it there is closed; where it was heard before, it still is.
        leg.at = None;
        leg.told = false;
        let generation = leg.generation;
        let text = format!("its media could not be placed: {text}");
        self.renew_leg(id, generation, &text, now);
    }

    /// Makes a leg's objects anew and removes the old ones; once that was done too often, the
    /// leg is given up for this reason.
    pub(super) fn renew_leg(&mut self, id: &str, generation: u64, reason: &str, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if call.renewals >= RENEWALS {
            self.fail_leg(id, generation, reason, now);
            return;
        }
        call.renewals += 1;
        self.replace_leg(id, generation, now);
    }

    /// Makes a leg's objects anew where its set-up was cut short; that is no fault of the leg.
    pub(super) fn replace_leg(&mut self, id: &str, generation: u64, now: Instant) {
        let Some(leg) = self.take_leg(id, generation) else {
            return;
        };
        debug!(call = id, leg = leg.label, "media made anew");
        self.stats.legs_renewed += 1;
        let (label, spy, former) = (leg.label, leg.spy, leg.heard_at());
        let group = self.next_serial();
        self.dismantle(leg, group);
        self.start_leg(id, label, spy, former, now);
    }

    /// Gives a leg up; without any leg the call has failed.
    pub(super) fn fail_leg(&mut self, id: &str, generation: u64, text: &str, now: Instant) {
        let Some(leg) = self.take_leg(id, generation) else {
            return;
        };
        warn!(call = id, leg = leg.label, text, "leg failed");
        self.stats.legs_failed += 1;
        let label = leg.label;
        let group = self.next_serial();
        self.dismantle(leg, group);
        self.audit_soon(now);
        self.notice(ControlNotice::LegFailed {
            call: id.to_owned(),
            leg: label,
            text: text.to_owned(),
        });
        let Some(call) = self.calls.get(id) else {
            return;
        };
        if call.legs.is_empty() && matches!(call.stage, CallStage::Active) {
            self.fail_call(id, text.to_owned());
        }
    }

    /// The answer to a leg's request will never come.
    pub(super) fn lose_leg(&mut self, id: &str, generation: u64) {
        if let Some(leg) = self.leg_mut(id, generation) {
            leg.step = LegStep::Lost;
        }
    }

    /// Marks the legs that wait for an event as lost.
    pub(super) fn lose_unfinished_legs(&mut self) {
        for leg in self.calls.values_mut().flat_map(|call| &mut call.legs) {
            if !matches!(leg.step, LegStep::Up | LegStep::Idle) {
                leg.step = LegStep::Lost;
            }
        }
    }
}
