//! News of the parties of a call, passed on to its session.

use std::time::Instant;

use asterscribe_call::{CallId, Leg};
use asterscribe_session::{LegIndex, SessionInput};

use super::SessionShard;

impl SessionShard {
    /// Announces that another party may speak on a leg, or on any.
    pub(super) fn party_may_differ(
        &mut self,
        now: Instant,
        call: &CallId,
        leg: Option<&Leg>,
        why: &'static str,
    ) {
        let Some(key) = self.residents.key(call) else {
            return;
        };
        let resident = self.residents.get_mut(key);
        // A leg that it does not have is none of the session's.
        let index = |leg| resident.and_then(|resident| resident.session.leg(leg));
        let leg = leg.map(|leg| index(leg).unwrap_or(LegIndex::NONE));
        self.feed(now, key, SessionInput::PartyMayDiffer { leg, why });
    }

    /// Puts a leg on hold, or takes it off. A call or leg that is not in this shard is ignored.
    pub(super) fn hold(&mut self, now: Instant, call: &CallId, leg: &Leg, is_on: bool) {
        let Some(key) = self.residents.key(call) else {
            return;
        };
        let resident = self.residents.get_mut(key);
        if let Some(leg) = resident.and_then(|resident| resident.session.leg(leg)) {
            self.feed(now, key, SessionInput::Hold { leg, is_on });
        }
    }
}
