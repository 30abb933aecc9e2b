//! Who speaks on a call's legs may change while it goes on.

use asterscribe_ari::control::PartyChange;

use super::Desk;
use crate::call::{CallId, Leg};

impl Desk {
    /// Somebody else may speak on a leg of a call, or on any.
    pub(super) fn party_may_differ(&self, call: &CallId, leg: Option<&str>, change: PartyChange) {
        let leg: Option<Leg> = leg.and_then(|leg| leg.parse().ok());
        let Some((port, media)) = self.running(call) else {
            return;
        };
        if !port.party_may_differ(media, leg, change.text()) {
            tracing::warn!(%call, "the media plane is overloaded: detected languages stay");
        }
    }
}
