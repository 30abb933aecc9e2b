//! Actions of a call's parties while it lasts: keys, hold, transfers, parking, pickup.

use serde_json::json;

use super::world::AsteriskWorld;

impl AsteriskWorld {
    /// The party of channel `id` presses a key.
    pub fn press(&mut self, id: &str, digit: char) {
        self.tell(
            id,
            "ChannelDtmfReceived",
            json!({ "digit": digit, "duration_ms": 100 }),
        );
    }

    /// A party's device puts the other one on hold, or takes it off.
    pub fn hold(&mut self, id: &str, is_held: bool) {
        let kind = if is_held {
            "ChannelHold"
        } else {
            "ChannelUnhold"
        };
        self.tell(id, kind, json!({}));
    }

    /// A channel is told whom it is connected to.
    pub fn connect_to(&mut self, id: &str, number: &str) {
        if let Some(channel) = self.channels.get_mut(id) {
            number.clone_into(&mut channel.connected);
        }
        self.tell(id, "ChannelConnectedLine", json!({}));
    }

    /// A channel enters a bridge that others made.
    pub fn enter_bridge(&mut self, id: &str, bridge: &str) {
        let theirs = self.theirs.entry(bridge.to_owned()).or_default();
        theirs.insert(id.to_owned());
        let bridge = json!({ "id": bridge, "channels": theirs });
        self.tell(id, "ChannelEnteredBridge", json!({ "bridge": bridge }));
    }

    /// A channel leaves a bridge that others made; nobody is told.
    pub fn leave_bridge(&mut self, id: &str, bridge: &str) {
        if let Some(theirs) = self.theirs.get_mut(bridge) {
            theirs.remove(id);
        }
    }

    /// The party that a channel talks to transfers the call to somebody else.
    pub fn transfer(&mut self, id: &str) {
        let transferee = self.describe(id);
        let event = json!({ "result": "Success", "transferee": transferee });
        self.tell(id, "BridgeBlindTransfer", event);
    }

    /// A party is transferred by REFER, in its own name: its channel talks to somebody else.
    pub fn refer(&mut self, id: &str, number: &str) {
        self.transfer(id);
        self.connect_to(id, number);
    }

    /// An attended transfer puts a party into another call.
    pub fn attended_transfer(&mut self, id: &str, bridge: &str) {
        let transferee = self.describe(id);
        let event = json!({ "result": "Success", "transferee": transferee });
        self.tell(id, "BridgeAttendedTransfer", event);
        self.enter_bridge(id, bridge);
    }

    /// A party is parked: it is alone in a bridge with music.
    pub fn park(&mut self, id: &str) {
        self.hold(id, true);
        self.enter_bridge(id, "parking-lot");
    }

    /// Somebody picks a call up, and takes the place of the channel that rang.
    pub fn pick_up(&mut self, id: &str, number: &str) {
        self.connect_to(id, number);
        self.enter_bridge(id, "pickup");
    }
}
