//! Actions of a call's parties while it lasts: keys, hold, transfers, parking, pickup, and being sent
//! elsewhere.

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

    /// A channel enters a bridge that others made, and leaves whichever it was in.
    pub fn enter_bridge(&mut self, id: &str, bridge: &str) {
        if !self.exists(id) && !self.bridges.contains_key(bridge) {
            return;
        }
        let is_there = self
            .theirs
            .get(bridge)
            .is_some_and(|in_it| in_it.contains(id));
        if !is_there {
            self.leave_bridges(id);
        }
        let theirs = self.theirs.entry(bridge.to_owned()).or_default();
        theirs.insert(id.to_owned());
        let bridge = json!({ "id": bridge, "channels": theirs });
        self.tell(id, "ChannelEnteredBridge", json!({ "bridge": bridge }));
    }

    /// A channel leaves a bridge that others made. Who hears of no channel but those that stay is
    /// not told.
    pub fn leave_bridge(&mut self, id: &str, bridge: &str) {
        if let Some(theirs) = self.theirs.get_mut(bridge)
            && theirs.remove(id)
        {
            let bridge = json!({ "id": bridge, "channels": theirs });
            self.tell(id, "ChannelLeftBridge", json!({ "bridge": bridge }));
        }
    }

    pub(super) fn leave_bridges(&mut self, id: &str) {
        let bridges: Vec<String> = self.theirs.keys().cloned().collect();
        for bridge in bridges {
            self.leave_bridge(id, &bridge);
        }
    }

    /// Somebody sends a channel elsewhere in the dialplan: to an announcement, a menu, music.
    pub fn redirect(&mut self, id: &str) {
        self.leave_bridges(id);
    }

    /// The one that a channel talks to, if it is alone with one.
    pub fn partner_of(&self, id: &str) -> Option<String> {
        let mut bridges = self.theirs.values();
        let members = bridges.find(|members| members.contains(id))?;
        let mut others = members.iter().filter(|member| *member != id);
        match (others.next(), others.next()) {
            (Some(partner), None) => Some(partner.clone()),
            _ => None,
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

    /// An originated channel is answered, and a moment passes before it is in the application:
    /// [`AsteriskWorld::arrive`].
    pub fn answered_and_on_its_way(&mut self, id: &str) {
        if let Some(channel) = self.channels.get_mut(id) {
            channel.state = "Up";
            channel.on_its_way = true;
            self.tell(id, "ChannelStateChange", json!({}));
        }
    }

    /// Every channel that is on its way into the application enters it.
    pub fn arrive(&mut self) {
        let on_their_way = self.channels.iter().filter(|(_, c)| c.on_its_way);
        let ids: Vec<String> = on_their_way.map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.enter(&id);
        }
    }

    /// Somebody sends a channel elsewhere in the dialplan, or into an application of theirs: it
    /// talks to others. What the application had subscribed to by itself it goes on hearing of.
    pub fn sent_elsewhere(&mut self, id: &str, app: Option<&'static str>) {
        self.leave(id);
        if let Some(channel) = self.channels.get_mut(id) {
            channel.state = "Up";
            channel.on_its_way = false;
            channel.continued = true;
            channel.elsewhere = app;
        }
    }

    /// Another application's channel is moved into the application, and still names the former.
    pub fn moved_in(&mut self, id: &str, from: &'static str) {
        self.foreign_channel(id, &format!("PJSIP/{id}"), Some(from));
        self.begin_stay(id);
    }

    /// Whether a channel is a party who talks to others, as far as can be told.
    pub fn is_elsewhere(&self, id: &str) -> bool {
        let talks = self
            .channels
            .get(id)
            .is_some_and(|channel| channel.state == "Up" && !channel.in_app && !channel.on_its_way);
        talks && !self.undescribable.contains(id)
    }
}
