//! Asterisk as far as ARI shows it: channels, bridges, one application.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};

use crate::control::RequestFailure;
use crate::event::Event;
use crate::request::{Request, Spy};

/// The world. What happens in it is told through [`World::next_event`] while
/// [`World::connected`] is set, and lost otherwise.
#[derive(Debug, Clone, Default)]
pub struct World {
    app: String,
    /// Whether the application's websocket is up.
    pub connected: bool,
    /// Whether replies to `externalMedia` carry the RTP source (newer Asterisks do).
    pub tells_source: bool,
    /// Refuse this many bridgings with 422, as happens when they come too early.
    pub early_joins: u32,
    channels: BTreeMap<String, WorldChannel>,
    bridges: BTreeMap<String, BTreeSet<String>>,
    subscriptions: BTreeSet<String>,
    events: VecDeque<String>,
    ports: u16,
}

#[derive(Debug, Clone, Default)]
struct WorldChannel {
    name: String,
    state: &'static str,
    in_app: bool,
    bridge: Option<String>,
    spies_on: Option<String>,
    port: Option<u16>,
    /// Sent back to its dialplan by `continue`.
    continued: bool,
}

impl World {
    /// An empty world with an application of this name.
    pub fn new(app: &str) -> Self {
        Self {
            app: app.to_owned(),
            tells_source: true,
            ports: 20_000,
            ..Self::default()
        }
    }

    /// The next event, in its order.
    pub fn next_event(&mut self) -> Option<Event> {
        let text = self.events.pop_front()?;
        Some(Event::parse(&text).expect("the world writes only events that can be read"))
    }

    /// The next event as it goes over the wire.
    pub fn next_event_text(&mut self) -> Option<String> {
        self.events.pop_front()
    }

    /// Whether an event waits.
    pub fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// The websocket breaks: what was not read is lost.
    pub fn disconnect(&mut self) {
        self.connected = false;
        self.events.clear();
    }

    /// Asterisk starts anew: everything is gone.
    pub fn restart(&mut self) {
        self.disconnect();
        self.channels.clear();
        self.bridges.clear();
        self.subscriptions.clear();
    }

    /// A caller's channel enters the application; without a listener the dialplan goes on.
    pub fn incoming(&mut self, id: &str) {
        let channel = WorldChannel {
            name: format!("PJSIP/{id}"),
            state: "Ring",
            ..WorldChannel::default()
        };
        self.channels.insert(id.to_owned(), channel);
        self.enter(id);
    }

    /// A call between two parties that is not ours: `id` is one of its channels.
    pub fn foreign_call(&mut self, id: &str) {
        let channel = WorldChannel {
            name: format!("PJSIP/{id}"),
            state: "Up",
            ..WorldChannel::default()
        };
        self.channels.insert(id.to_owned(), channel);
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

    /// A party hangs up. A Stasis caller's BYE is not followed by `ChannelDestroyed`.
    pub fn hang_up(&mut self, id: &str, cause: u16) {
        let in_app = self.channels.get(id).is_some_and(|channel| channel.in_app);
        self.tell(id, "ChannelHangupRequest", json!({ "cause": cause }));
        self.leave(id);
        if !in_app {
            self.tell(
                id,
                "ChannelDestroyed",
                json!({ "cause": cause, "cause_txt": "told at the end" }),
            );
        }
        self.drop_channel(id);
    }

    /// A key is pressed.
    pub fn press(&mut self, id: &str, digit: char) {
        self.tell(
            id,
            "ChannelDtmfReceived",
            json!({ "digit": digit, "duration_ms": 100 }),
        );
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
        self.subscriptions.contains(id)
    }

    /// Channels in the application.
    pub fn in_app(&self) -> Vec<String> {
        self.channels
            .iter()
            .filter(|(_, c)| c.in_app)
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Carries a request out.
    ///
    /// # Errors
    /// As Asterisk refuses.
    pub fn execute(&mut self, request: &Request) -> Result<Value, RequestFailure> {
        match request {
            Request::Ping => Ok(json!({ "ping": "pong" })),
            Request::ListChannels => Ok(self.channels.keys().map(|id| self.describe(id)).collect()),
            Request::ListBridges => Ok(self
                .bridges
                .iter()
                .map(|(id, channels)| json!({ "id": id, "technology": "simple_bridge", "channels": channels }))
                .collect()),
            Request::GetApplication { .. } => Ok(self.application()),
            Request::GetChannel { channel } => {
                self.must_exist(channel)?;
                Ok(self.describe(channel))
            }
            Request::GetVariable { channel, variable } => self.variable(channel, variable),
            Request::Subscribe { channel, .. } => {
                self.must_exist(channel)?;
                self.subscriptions.insert(channel.clone());
                Ok(self.application())
            }
            Request::Unsubscribe { channel, .. } => {
                if self.subscriptions.remove(channel) { Ok(self.application()) } else { refuse(404, "no subscription") }
            }
            Request::Answer { channel } => self.answer(channel),
            Request::CreateBridge { bridge } => {
                self.bridges.entry(bridge.clone()).or_default();
                Ok(json!({ "id": bridge }))
            }
            Request::ExternalMedia { channel, external_host, .. } => self.external_media(channel, external_host),
            Request::AddChannel { bridge, channels } => self.add_channels(bridge, channels),
            Request::Snoop { channel, snoop, spy, .. } => self.snoop(channel, snoop, *spy),
            Request::DeleteChannel { channel } => {
                self.must_exist(channel)?;
                self.tell(channel, "ChannelHangupRequest", json!({ "soft": true }));
                self.destroy(channel, 16);
                Ok(Value::Null)
            }
            Request::DeleteBridge { bridge } => {
                let Some(channels) = self.bridges.remove(bridge) else { return refuse(404, "Bridge not found") };
                for id in channels {
                    if let Some(channel) = self.channels.get_mut(&id) {
                        channel.bridge = None;
                    }
                }
                Ok(Value::Null)
            }
            Request::Continue { channel } => self.continue_channel(channel),
            Request::Originate(originate) => {
                if self.channels.contains_key(&originate.channel) {
                    return refuse(500, "Allocation failed");
                }
                let name = format!("PJSIP/{}", originate.endpoint);
                self.make(&originate.channel, WorldChannel { name, state: "Ringing", ..WorldChannel::default() });
                self.subscriptions.insert(originate.channel.clone());
                Ok(self.describe(&originate.channel))
            }
        }
    }

    fn answer(&mut self, id: &str) -> Result<Value, RequestFailure> {
        self.must_be_in_app(id)?;
        if let Some(channel) = self
            .channels
            .get_mut(id)
            .filter(|channel| channel.state != "Up")
        {
            channel.state = "Up";
            self.tell(id, "ChannelStateChange", json!({}));
        }
        Ok(Value::Null)
    }

    fn external_media(&mut self, id: &str, host: &str) -> Result<Value, RequestFailure> {
        if self.channels.contains_key(id) {
            return refuse(500, "Allocation failed");
        }
        self.ports = self.ports.checked_add(2).unwrap_or(20_000);
        let port = Some(self.ports);
        let name = format!("UnicastRTP/{host}-0x{:x}", self.ports);
        let mut description = json!({ "id": id, "name": name, "state": "Down" });
        if self.tells_source {
            description["channelvars"] = json!({
                "UNICASTRTP_LOCAL_PORT": self.ports.to_string(), "UNICASTRTP_LOCAL_ADDRESS": "127.0.0.1",
            });
        }
        self.make(
            id,
            WorldChannel {
                name,
                state: "Up",
                port,
                ..WorldChannel::default()
            },
        );
        self.enter(id);
        Ok(description)
    }

    fn snoop(&mut self, id: &str, snoop: &str, spy: Spy) -> Result<Value, RequestFailure> {
        self.must_exist(id)?;
        if self.channels.contains_key(snoop) {
            return refuse(500, "Allocation failed");
        }
        let name = format!("Snoop/{id}-{spy:?}");
        let spies_on = Some(id.to_owned());
        self.make(
            snoop,
            WorldChannel {
                name: name.clone(),
                state: "Up",
                spies_on,
                ..WorldChannel::default()
            },
        );
        self.enter(snoop);
        Ok(json!({ "id": snoop, "name": name, "state": "Up" }))
    }

    fn add_channels(&mut self, bridge: &str, ids: &[String]) -> Result<Value, RequestFailure> {
        if !self.bridges.contains_key(bridge) {
            return refuse(404, "Bridge not found");
        }
        for id in ids {
            if !self.channels.contains_key(id) {
                return refuse(400, "Channel not found");
            }
            if !self.channels.get(id).is_some_and(|channel| channel.in_app) {
                return refuse(422, "Channel not in Stasis application");
            }
        }
        if self.early_joins > 0 {
            self.early_joins -= 1;
            return refuse(422, "Channel not in Stasis application");
        }
        for id in ids {
            self.unbridge(id);
            if let Some(channel) = self.channels.get_mut(id) {
                channel.bridge = Some(bridge.to_owned());
            }
            if let Some(members) = self.bridges.get_mut(bridge) {
                members.insert(id.clone());
            }
        }
        Ok(Value::Null)
    }

    fn continue_channel(&mut self, id: &str) -> Result<Value, RequestFailure> {
        self.must_be_in_app(id)?;
        self.leave(id);
        if let Some(channel) = self.channels.get_mut(id) {
            channel.continued = true;
        }
        Ok(Value::Null)
    }

    fn variable(&self, id: &str, name: &str) -> Result<Value, RequestFailure> {
        self.must_exist(id)?;
        match (name, self.channels.get(id).and_then(|channel| channel.port)) {
            ("UNICASTRTP_LOCAL_PORT", Some(port)) => Ok(json!({ "value": port.to_string() })),
            ("UNICASTRTP_LOCAL_ADDRESS", Some(_)) => Ok(json!({ "value": "127.0.0.1" })),
            _ => refuse(404, "Variable not found"),
        }
    }

    /// Without a listener Asterisk answers 200, and the channel vanishes.
    fn make(&mut self, id: &str, channel: WorldChannel) {
        if self.connected {
            self.channels.insert(id.to_owned(), channel);
        }
    }

    fn enter(&mut self, id: &str) {
        let connected = self.connected;
        let Some(channel) = self.channels.get_mut(id) else {
            return;
        };
        channel.in_app = connected;
        channel.continued = !connected;
        self.tell(id, "StasisStart", json!({ "args": [] }));
    }

    fn leave(&mut self, id: &str) {
        self.unbridge(id);
        if self.channels.get(id).is_some_and(|channel| channel.in_app) {
            self.tell(id, "StasisEnd", json!({}));
            if let Some(channel) = self.channels.get_mut(id) {
                channel.in_app = false;
            }
        }
    }

    fn destroy(&mut self, id: &str, cause: u16) {
        if !self.channels.contains_key(id) {
            return;
        }
        let was_in_app = self.channels.get(id).is_some_and(|channel| channel.in_app);
        self.leave(id);
        if was_in_app {
            self.subscriptions.insert(id.to_owned());
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

    fn unbridge(&mut self, id: &str) {
        if let Some(bridge) = self
            .channels
            .get_mut(id)
            .and_then(|channel| channel.bridge.take())
            && let Some(members) = self.bridges.get_mut(&bridge)
        {
            members.remove(id);
        }
    }

    fn tell(&mut self, id: &str, kind: &str, mut event: Value) {
        let heard =
            self.channels.get(id).is_some_and(|c| c.in_app) || self.subscriptions.contains(id);
        if !self.connected || !heard {
            return;
        }
        event["type"] = json!(kind);
        event["application"] = json!(self.app);
        event["channel"] = self.describe(id);
        self.events.push_back(event.to_string());
    }

    fn describe(&self, id: &str) -> Value {
        let Some(channel) = self.channels.get(id) else {
            return json!({ "id": id, "name": "gone", "state": "Down" });
        };
        let app = if channel.in_app {
            "Stasis"
        } else if channel.state == "Ringing" {
            "AppDial2"
        } else {
            "Dial"
        };
        json!({
            "id": id, "name": channel.name, "state": channel.state, "language": "en",
            "caller": { "name": "", "number": "100" }, "dialplan": { "app_name": app, "exten": "9999" },
        })
    }

    fn application(&self) -> Value {
        let ids: BTreeSet<String> = self
            .in_app()
            .into_iter()
            .chain(self.subscriptions.iter().cloned())
            .collect();
        json!({ "name": self.app, "channel_ids": ids, "bridge_ids": [] })
    }

    fn must_exist(&self, id: &str) -> Result<(), RequestFailure> {
        if self.channels.contains_key(id) {
            Ok(())
        } else {
            refuse(404, "Channel not found")
        }
    }

    fn must_be_in_app(&self, id: &str) -> Result<(), RequestFailure> {
        self.must_exist(id)?;
        if self.channels.get(id).is_some_and(|channel| channel.in_app) {
            Ok(())
        } else {
            refuse(409, "Channel not in Stasis application")
        }
    }
}

fn refuse<T>(status: u16, message: &str) -> Result<T, RequestFailure> {
    Err(RequestFailure::Refused {
        status,
        message: message.to_owned(),
    })
}
