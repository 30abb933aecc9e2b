//! Events after which somebody else may speak on a leg: hold, transfers, another party.

use super::Control;
use super::call::Owner;
use super::config::CallKind;
use super::io::{Notice, PartyChange};
use crate::model::Channel;

impl Control {
    /// Something happened to a channel that concerns whoever speaks on any leg of its call.
    pub(super) fn party_changed(&mut self, channel: &str, change: PartyChange) {
        if let Some(call) = self.told_party(channel) {
            let leg = None;
            self.notice(Notice::PartyMayDiffer { call, leg, change });
        }
    }

    /// The channel was told whom it is connected to: that is often what it knew.
    pub(super) fn on_connected_line(&mut self, channel: Channel) {
        let Some(id) = self.told_party(&channel.id) else {
            return;
        };
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if call.connected != channel.connected {
            call.connected = channel.connected;
            self.partner_changed(id, PartyChange::Connected);
        }
    }

    pub(super) fn on_entered_bridge(&mut self, channel: &str, bridge: &str) {
        let is_ours = self.owners.get(bridge) == Some(&Owner::Bridge);
        if let Some(call) = self.told_party(channel).filter(|_| !is_ours) {
            self.partner_changed(call, PartyChange::Bridged);
        }
    }

    pub(super) fn on_transfer(&mut self, channels: &[String]) {
        let mut calls: Vec<String> = channels
            .iter()
            .filter_map(|channel| self.told_party(channel))
            .collect();
        calls.sort_unstable();
        calls.dedup();
        for call in calls {
            self.partner_changed(call, PartyChange::Transferred);
        }
    }

    /// Whom the channel talks to is another: a leg only where the call is tapped.
    fn partner_changed(&mut self, call: String, change: PartyChange) {
        let is_tap = |call: &super::Call| call.kind == CallKind::Tap;
        if self.calls.get(&call).is_some_and(is_tap) {
            let leg = Some("callee");
            self.notice(Notice::PartyMayDiffer { call, leg, change });
        }
    }
}
