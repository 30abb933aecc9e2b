//! Changes of the parties on a call's legs while it goes on.

use std::time::Instant;

use asterscribe_ari::control::PartyChange;
use asterscribe_ari::model::PartyId;
use asterscribe_call::{CallEventKind, CallId, Leg};

use super::CallManager;

/// News of a call's parties, in the words of Asterisk's side.
#[derive(Debug)]
pub(super) struct PartyNews {
    pub(super) leg: Option<&'static str>,
    pub(super) change: PartyChange,
    pub(super) by: Option<&'static str>,
    pub(super) connected: Option<PartyId>,
    pub(super) at: Instant,
}

impl CallManager {
    /// Enters that another party may speak on a leg of a call, or on any, and lets its session
    /// know.
    pub(super) fn party_may_differ(&self, call: &CallId, news: PartyNews) {
        let PartyNews {
            leg,
            change,
            by,
            connected,
            at,
        } = news;
        let (leg, by) = self.registry(|registry| {
            let named = |side: Option<&str>| Some(registry.leg_of(call, side?));
            (named(leg), named(by))
        });
        let kind = match change {
            PartyChange::Hold => Some(CallEventKind::Hold),
            PartyChange::Unhold | PartyChange::HoldOver => Some(CallEventKind::Unhold),
            PartyChange::Connected | PartyChange::Bridged | PartyChange::Transferred => {
                Some(CallEventKind::PartyChanged)
            }
            PartyChange::Joined => None,
        };
        let text = connected.as_ref().map_or_else(
            || change.text().to_owned(),
            |party| format!("{}: {}", change.text(), shown(party)),
        );
        self.registry(|registry| {
            if let Some(kind) = kind {
                let leg = by.clone().or_else(|| leg.clone());
                registry.party_event(call, at, kind, leg, text);
            }
            if let Some(connected) = connected {
                registry.connected_to(call, connected);
            }
        });
        if let Some(by) = by {
            self.hold(call, by, change == PartyChange::Hold);
        }
        let Some((thread, media)) = self.running(call) else {
            return;
        };
        if !thread.party_may_differ(media, leg, change.text()) {
            tracing::warn!(%call, "the media plane is overloaded: detected languages stay");
        }
    }

    /// Enters that a party has put the other on hold, or taken it off: what comes from a leg on
    /// hold is nobody's speech.
    fn hold(&self, call: &CallId, leg: Leg, is_on: bool) {
        self.registry(|registry| registry.hold(call, leg.clone(), is_on));
        self.tell_hold(call, leg, is_on);
    }

    /// Passes hold on to the leg's media run.
    pub(super) fn tell_hold(&self, call: &CallId, leg: Leg, is_on: bool) {
        let Some((thread, media)) = self.running(call) else {
            return;
        };
        if !thread.hold(media, leg, is_on) {
            tracing::warn!(%call, is_on, "the media plane is overloaded: a hold was not passed on");
        }
    }
}

/// A party in words.
fn shown(party: &PartyId) -> String {
    match (party.name.as_str(), party.number.as_str()) {
        ("", "") => "unknown".to_owned(),
        ("", number) => number.to_owned(),
        (name, "") => name.to_owned(),
        (name, number) => format!("{number} ({name})"),
    }
}
