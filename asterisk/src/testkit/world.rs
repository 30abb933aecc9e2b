//! Asterisk as far as ARI shows it: channels, bridges, one application.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};

use crate::event::AriEvent;

/// The world. What happens in it is told through [`AsteriskWorld::next_event`] while
/// [`AsteriskWorld::connected`] is set, and lost otherwise.
#[derive(Debug, Clone, Default)]
pub struct AsteriskWorld {
    pub(super) app: String,
    /// Whether the application's websocket is up.
    pub connected: bool,
    /// Whether replies to `externalMedia` carry the RTP source (newer Asterisks do).
    pub tells_source: bool,
    /// Refuse this many bridgings with 422, as happens when they come too early.
    pub early_joins: u32,
    /// Channels that cannot be described: they, and the list of all, are answered with 500.
    pub undescribable: BTreeSet<String>,
    pub(super) channels: BTreeMap<String, WorldChannel>,
    pub(super) bridges: BTreeMap<String, BTreeSet<String>>,
    /// Bridges that others made, with the channels in them.
    pub(super) theirs: BTreeMap<String, BTreeSet<String>>,
    /// Number of times that the application is subscribed to each channel, beside those in it.
    pub(super) subscriptions: BTreeMap<String, u32>,
    pub(super) events: VecDeque<String>,
    /// Whether RTP ports are given out again as soon as they are free.
    pub reuses_ports: bool,
    pub(super) ports: u16,
    /// Whether channels that are told to hang up are still there until
    /// [`AsteriskWorld::hang_ups_done`].
    pub hangs_up_late: bool,
    leaving: BTreeSet<String>,
    /// Whether an application that nobody uses has not been cleared away yet.
    pub(super) remembered: bool,
    born: u64,
    /// Channels that are offered to several applications, and whether they are to be had.
    pub(super) offers: BTreeMap<String, bool>,
    /// Values of variables, by channel and name.
    pub(super) variables: BTreeMap<(String, String), String>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct WorldChannel {
    pub(super) name: String,
    pub(super) state: &'static str,
    /// Number of whom it is connected to.
    pub(super) connected: String,
    pub(super) in_app: bool,
    pub(super) bridge: Option<String>,
    pub(super) spies_on: Option<String>,
    pub(super) port: Option<u16>,
    /// Sent back to its dialplan by `continue`.
    pub(super) continued: bool,
    /// The application that its `Stasis()` names, where that is another.
    pub(super) elsewhere: Option<&'static str>,
    /// Placed, and answered at the other end, but not in the application yet.
    pub(super) on_its_way: bool,
    /// Tells it from all others that had its id.
    pub(super) born: u64,
}

impl AsteriskWorld {
    /// An empty world with an application of this name.
    pub fn new(app: &str) -> Self {
        Self {
            app: app.to_owned(),
            tells_source: true,
            ports: 20_000,
            ..Self::default()
        }
    }

    /// The application.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The next event, in its order.
    pub fn next_event(&mut self) -> Option<AriEvent> {
        let text = self.events.pop_front()?;
        Some(AriEvent::parse(&text).expect("the world writes only events that can be read"))
    }

    /// The next event as it goes over the wire.
    pub fn next_event_text(&mut self) -> Option<String> {
        self.events.pop_front()
    }

    /// Whether an event waits.
    pub fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// A variable of a channel that is there or will be.
    pub fn set_variable(&mut self, channel: &str, name: &str, value: &str) {
        let key = (channel.to_owned(), name.to_owned());
        self.variables.insert(key, value.to_owned());
    }

    /// The websocket breaks: what was not read is lost.
    pub fn disconnect(&mut self) {
        self.connected = false;
        self.remembered = true;
        self.events.clear();
    }

    /// Another application comes or goes, and those that nobody uses are cleared away.
    pub fn another_application(&mut self) {
        self.remembered = false;
    }

    /// Asterisk starts anew: everything is gone.
    pub fn restart(&mut self) {
        self.disconnect();
        self.remembered = false;
        self.channels.clear();
        self.bridges.clear();
        self.theirs.clear();
        self.subscriptions.clear();
    }

    /// A caller's channel enters the application; without a listener the dialplan goes on.
    pub fn incoming(&mut self, id: &str) {
        let channel = WorldChannel {
            name: format!("PJSIP/{id}"),
            state: "Ring",
            ..WorldChannel::default()
        };
        self.insert(id, channel);
        self.enter(id);
    }

    /// A caller's channel is offered to every application.
    pub fn broadcast(&mut self, id: &str) {
        let channel = WorldChannel {
            name: format!("PJSIP/{id}"),
            state: "Ring",
            ..WorldChannel::default()
        };
        self.insert(id, channel);
        self.offers.insert(id.to_owned(), true);
        if self.connected {
            let mut event = json!({ "type": "CallBroadcast", "caller": "100", "called": "200" });
            event["application"] = json!(self.app);
            event["channel"] = self.describe(id);
            self.events.push_back(event.to_string());
        }
    }

    /// Another application claims it.
    pub fn claimed_by_another(&mut self, id: &str) {
        self.offers.insert(id.to_owned(), false);
    }

    /// A channel enters the application from its dialplan.
    pub fn enter_again(&mut self, id: &str) {
        self.enter(id);
    }

    /// When a channel was created; empty if there is none.
    pub fn creation_of(&self, id: &str) -> String {
        let channel = self.channels.get(id);
        channel.map_or_else(String::new, |channel| creation_time(channel.born))
    }

    /// A call between two parties that is not ours: `id` is one of its channels.
    pub fn foreign_call(&mut self, id: &str) {
        let channel = WorldChannel {
            name: format!("PJSIP/{id}"),
            state: "Up",
            ..WorldChannel::default()
        };
        self.insert(id, channel);
    }

    /// A channel that somebody else made, in an application of theirs if they have one.
    pub fn foreign_channel(&mut self, id: &str, name: &str, app: Option<&'static str>) {
        let channel = WorldChannel {
            name: name.to_owned(),
            state: "Up",
            elsewhere: app,
            ..WorldChannel::default()
        };
        self.insert(id, channel);
    }

    /// A bridge that somebody else made.
    pub fn foreign_bridge(&mut self, id: &str) {
        self.bridges.entry(id.to_owned()).or_default();
    }

    /// A channel ends and nobody hears of it.
    pub fn vanish(&mut self, id: &str) {
        for members in self.theirs.values_mut() {
            members.remove(id);
        }
        self.channels.remove(id);
        self.subscriptions.remove(id);
    }

    /// An originated channel is answered at the other end.
    pub fn answered_at_far_end(&mut self, id: &str) {
        if let Some(channel) = self
            .channels
            .get_mut(id)
            .filter(|channel| channel.state == "Ringing")
        {
            channel.state = "Up";
            self.tell(id, "ChannelStateChange", json!({}));
            self.enter(id);
        }
    }

    /// A party hangs up. A Stasis caller's BYE is followed by `ChannelDestroyed` only for who
    /// subscribed to the channel.
    pub fn hang_up(&mut self, id: &str, cause: u16) {
        self.tell(id, "ChannelHangupRequest", json!({ "cause": cause }));
        self.end_channel(id, cause);
    }

    /// A party hangs up by a BYE without a Reason header: no cause is told when it is asked for.
    pub fn hang_up_without_reason(&mut self, id: &str, cause: u16) {
        self.tell(id, "ChannelHangupRequest", json!({}));
        self.end_channel(id, cause);
    }

    /// Somebody hangs a channel up from within Asterisk: where its cause would be stands the flag
    /// (`AST_SOFTHANGUP_…`) that says who does.
    pub fn hang_up_softly(&mut self, id: &str, flag: u16, cause: u16) {
        let asked = json!({ "cause": flag, "soft": true });
        self.tell(id, "ChannelHangupRequest", asked);
        self.end_channel(id, cause);
    }

    fn end_channel(&mut self, id: &str, cause: u16) {
        self.leave(id);
        self.leave_bridges(id);
        self.tell(
            id,
            "ChannelDestroyed",
            json!({ "cause": cause, "cause_txt": "told at the end" }),
        );
        self.drop_channel(id);
    }

    pub(super) fn subscribe(&mut self, id: &str) {
        *self.subscriptions.entry(id.to_owned()).or_default() += 1;
    }

    /// Takes one subscription back; whether there was one.
    pub(super) fn unsubscribe(&mut self, id: &str) -> bool {
        let Some(count) = self.subscriptions.get_mut(id) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.subscriptions.remove(id);
        }
        true
    }

    /// A channel is told to hang up.
    pub(super) fn delete(&mut self, id: &str) {
        // AST_SOFTHANGUP_EXPLICIT.
        let asked = json!({ "cause": 32, "soft": true });
        self.tell(id, "ChannelHangupRequest", asked);
        if self.hangs_up_late {
            self.leaving.insert(id.to_owned());
        } else {
            self.destroy(id, 16);
        }
    }

    /// Every channel that was told to hang up has done it.
    pub fn hang_ups_done(&mut self) {
        for id in std::mem::take(&mut self.leaving) {
            self.destroy(&id, 16);
        }
    }

    /// A channel dies of itself, as media channels sometimes do.
    pub fn kill(&mut self, id: &str) {
        self.destroy(id, 0);
    }

    /// Ids of the channels there are.
    pub fn channel_ids(&self) -> Vec<String> {
        self.channels.keys().cloned().collect()
    }

    /// Ids of the bridges there are.
    pub fn bridge_ids(&self) -> Vec<String> {
        self.bridges.keys().cloned().collect()
    }

    /// Channels in a bridge.
    pub fn bridged(&self, bridge: &str) -> Vec<String> {
        self.bridges
            .get(bridge)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Channels and bridges whose id begins like this.
    pub fn objects(&self, prefix: &str) -> Vec<String> {
        self.channels
            .keys()
            .chain(self.bridges.keys())
            .filter(|id| id.starts_with(prefix))
            .cloned()
            .collect()
    }

    /// Whether the channel exists and was sent back to its dialplan.
    pub fn is_continued(&self, id: &str) -> bool {
        self.channels
            .get(id)
            .is_some_and(|channel| channel.continued)
    }

    /// Whether the channel exists.
    pub fn exists(&self, id: &str) -> bool {
        self.channels.contains_key(id)
    }

    /// Whether the application is subscribed to a channel that is not in it.
    pub fn is_subscribed(&self, id: &str) -> bool {
        self.subscriptions.contains_key(id)
    }

    /// Channels in the application.
    pub fn in_app(&self) -> Vec<String> {
        self.channels
            .iter()
            .filter(|(_, c)| c.in_app)
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Without a listener Asterisk answers 200, and the channel vanishes.
    pub(super) fn make(&mut self, id: &str, channel: WorldChannel) {
        if self.connected {
            self.insert(id, channel);
        }
    }

    fn insert(&mut self, id: &str, mut channel: WorldChannel) {
        self.born += 1;
        channel.born = self.born;
        self.channels.insert(id.to_owned(), channel);
    }

    /// The next RTP port: a new one, or the lowest that no channel has.
    pub(super) fn next_port(&mut self) -> u16 {
        if self.reuses_ports {
            let taken: BTreeSet<u16> = self.channels.values().filter_map(|c| c.port).collect();
            let free = (20_002..).step_by(2).find(|port| !taken.contains(port));
            return free.expect("fewer channels than ports");
        }
        self.ports = self.ports.checked_add(2).unwrap_or(20_002);
        self.ports
    }

    pub(super) fn enter(&mut self, id: &str) {
        if let Some(channel) = self.channels.get_mut(id) {
            channel.elsewhere = None;
        }
        self.begin_stay(id);
    }

    pub(super) fn begin_stay(&mut self, id: &str) {
        let connected = self.connected;
        let Some(channel) = self.channels.get_mut(id) else {
            return;
        };
        channel.in_app = connected;
        channel.continued = !connected;
        channel.on_its_way = false;
        self.tell(id, "StasisStart", json!({ "args": [] }));
    }

    pub(super) fn leave(&mut self, id: &str) {
        self.unbridge(id);
        if self.channels.get(id).is_some_and(|channel| channel.in_app) {
            self.tell(id, "StasisEnd", json!({}));
            if let Some(channel) = self.channels.get_mut(id) {
                channel.in_app = false;
            }
        }
    }

    pub(super) fn destroy(&mut self, id: &str, cause: u16) {
        if !self.channels.contains_key(id) {
            return;
        }
        let was_in_app = self.channels.get(id).is_some_and(|channel| channel.in_app);
        self.leave(id);
        self.leave_bridges(id);
        if was_in_app {
            self.subscribe(id);
        }
        self.tell(
            id,
            "ChannelDestroyed",
            json!({ "cause": cause, "cause_txt": "told at the end" }),
        );
        self.drop_channel(id);
    }

    fn drop_channel(&mut self, id: &str) {
        self.unbridge(id);
        self.channels.remove(id);
        self.subscriptions.remove(id);
        let snoops: Vec<String> = self
            .channels
            .iter()
            .filter(|(_, channel)| channel.spies_on.as_deref() == Some(id))
            .map(|(id, _)| id.clone())
            .collect();
        for snoop in snoops {
            self.destroy(&snoop, 0);
        }
    }

    pub(super) fn unbridge(&mut self, id: &str) {
        if let Some(bridge) = self
            .channels
            .get_mut(id)
            .and_then(|channel| channel.bridge.take())
            && let Some(members) = self.bridges.get_mut(&bridge)
        {
            members.remove(id);
        }
    }

    pub(super) fn tell(&mut self, id: &str, kind: &str, mut event: Value) {
        let heard = self.channels.get(id).is_some_and(|c| c.in_app) || self.is_subscribed(id);
        if !self.connected || !heard {
            return;
        }
        event["type"] = json!(kind);
        event["application"] = json!(self.app);
        event["channel"] = self.describe(id);
        self.events.push_back(event.to_string());
    }

    pub(super) fn describe(&self, id: &str) -> Value {
        let Some(channel) = self.channels.get(id) else {
            return json!({ "id": id, "name": "gone", "state": "Down" });
        };
        let app = if channel.in_app || channel.elsewhere.is_some() {
            "Stasis"
        } else if channel.state == "Ringing" || channel.on_its_way {
            "AppDial2"
        } else {
            "Dial"
        };
        let own = channel.in_app.then_some(self.app.as_str());
        let data = channel.elsewhere.or(own).unwrap_or_default();
        json!({
            "creationtime": creation_time(channel.born),
            "id": id, "name": channel.name, "state": channel.state, "language": "en",
            "caller": { "name": "", "number": "100" }, "connected": { "name": "", "number": channel.connected },
            "dialplan": { "app_name": app, "app_data": data, "exten": "9999" },
        })
    }

    pub(super) fn application(&self) -> Value {
        let ids: BTreeSet<String> = self
            .in_app()
            .into_iter()
            .chain(self.subscriptions.keys().cloned())
            .collect();
        // It hears of the bridges that its channels are in.
        let bridges = self.channels.values().filter(|channel| channel.in_app);
        let bridges: BTreeSet<_> = bridges.filter_map(|c| c.bridge.clone()).collect();
        json!({ "name": self.app, "channel_ids": ids, "bridge_ids": bridges })
    }
}

fn creation_time(born: u64) -> String {
    format!("2026-01-12T09:30:00.{born:03}+0000")
}
