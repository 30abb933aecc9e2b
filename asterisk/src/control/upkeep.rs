//! What befalls a leg besides its set-up: lost media is made anew, what cannot be had is
//! given up, and a broken connection leaves the decision to the next listing.

use std::time::Instant;

use tracing::{debug, warn};

use super::Control;
use super::call::{Stage, Step};
use super::io::Notice;

/// How often a call's lost media is made anew.
const RENEWALS: u32 = 5;

impl Control {
    /// A media channel ended while its call goes on.
    pub(super) fn media_gone(&mut self, id: &str, generation: u64, now: Instant) {
        match self.leg(id, generation).map(|leg| leg.step) {
            Some(Step::Up) => self.renew_leg(id, generation, now),
            Some(Step::Lost) | None => {}
            Some(_) => self.fail_leg(
                id,
                generation,
                "the media channel ended while it was set up",
                now,
            ),
        }
    }

    /// Makes a leg's objects anew and removes the old ones.
    pub(super) fn renew_leg(&mut self, id: &str, generation: u64, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if call.renewals >= RENEWALS {
            self.fail_leg(id, generation, "its media was lost too often", now);
            return;
        }
        call.renewals += 1;
        self.replace_leg(id, generation, now);
    }

    /// The same for a leg whose set-up was cut short; that is no fault of the leg.
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
        self.notice(Notice::LegFailed {
            call: id.to_owned(),
            leg: label,
            text: text.to_owned(),
        });
        let Some(call) = self.calls.get(id) else {
            return;
        };
        if call.legs.is_empty() && matches!(call.stage, Stage::Active) {
            self.fail_call(id, text.to_owned());
        }
    }

    /// The answer to a leg's request will never come.
    pub(super) fn lose_leg(&mut self, id: &str, generation: u64) {
        if let Some(leg) = self.leg_mut(id, generation) {
            leg.step = Step::Lost;
        }
    }

    /// The same for legs that wait for an event.
    pub(super) fn lose_unfinished_legs(&mut self) {
        for leg in self.calls.values_mut().flat_map(|call| &mut call.legs) {
            if !matches!(leg.step, Step::Up | Step::Idle) {
                leg.step = Step::Lost;
            }
        }
    }
}
