//! How the world answers requests: as Asterisk was seen to.

use serde_json::{Value, json};

use super::world::{AsteriskWorld, WorldChannel};
use crate::control::RequestFailure;
use crate::request::{AriRequest, SnoopSide};

impl AsteriskWorld {
    /// Carries a request out.
    ///
    /// # Errors
    /// As Asterisk refuses.
    pub fn execute(&mut self, request: &AriRequest) -> Result<Value, RequestFailure> {
        match request {
            AriRequest::Ping => Ok(json!({ "ping": "pong" })),
            AriRequest::TryWrite { channel } => {
                self.must_exist(channel)?;
                Ok(Value::Null)
            }
            AriRequest::ListChannels if self.cannot_list() => refuse(500, "Allocation failed"),
            AriRequest::ListChannels => Ok(self.channels.keys().map(|id| self.describe(id)).collect()),
            AriRequest::ListBridges => Ok(self
                .bridges
                .iter()
                .chain(&self.theirs)
                .map(|(id, channels)| json!({ "id": id, "technology": "simple_bridge", "channels": channels }))
                .collect()),
            AriRequest::GetApplication { .. } => {
                let is_used = self.connected || !self.in_app().is_empty() || !self.subscriptions.is_empty();
                if is_used || self.remembered {
                    Ok(self.application())
                } else {
                    refuse(404, "Application not found")
                }
            }
            AriRequest::GetChannel { channel } => {
                self.must_exist(channel)?;
                if self.undescribable.contains(channel) {
                    return refuse(500, "Allocation failed");
                }
                Ok(self.describe(channel))
            }
            AriRequest::GetBridge { bridge } => match self.bridges.get(bridge).or_else(|| self.theirs.get(bridge)) {
                Some(channels) => Ok(json!({ "id": bridge, "channels": channels })),
                None => refuse(404, "Bridge not found"),
            },
            AriRequest::GetEndpoint { technology, resource } => self.endpoint(technology, resource),
            AriRequest::GetVariable { channel, variable } => self.variable(channel, variable),
            AriRequest::Subscribe { channel, .. } => {
                self.must_exist(channel)?;
                self.subscribe(channel);
                Ok(self.application())
            }
            AriRequest::Unsubscribe { channel, .. } => {
                if self.unsubscribe(channel) { Ok(self.application()) } else { refuse(404, "no subscription") }
            }
            AriRequest::Answer { channel } => self.answer(channel),
            AriRequest::CreateBridge { bridge } => {
                self.bridges.entry(bridge.clone()).or_default();
                Ok(json!({ "id": bridge }))
            }
            AriRequest::ExternalMedia { channel, external_host, .. } => self.external_media(channel, external_host),
            AriRequest::Claim { channel, .. } => self.claim(channel),
            AriRequest::AddChannel { bridge, channels } => self.add_channels(bridge, channels),
            AriRequest::Snoop { channel, snoop, spy, .. } => self.snoop(channel, snoop, *spy),
            AriRequest::DeleteChannel { channel } => {
                self.must_exist(channel)?;
                self.delete(channel);
                Ok(Value::Null)
            }
            AriRequest::DeleteBridge { bridge } => {
                let Some(channels) = self.bridges.remove(bridge) else { return refuse(404, "Bridge not found") };
                for id in channels {
                    if let Some(channel) = self.channels.get_mut(&id) {
                        channel.bridge = None;
                    }
                }
                Ok(Value::Null)
            }
            AriRequest::Continue { channel } => self.continue_channel(channel),
            AriRequest::Originate(originate) => {
                if self.channels.contains_key(&originate.channel) {
                    return refuse(500, "Allocation failed");
                }
                let name = format!("PJSIP/{}", originate.endpoint);
                self.make(&originate.channel, WorldChannel { name, state: "Ringing", ..WorldChannel::default() });
                self.subscribe(&originate.channel);
                Ok(self.describe(&originate.channel))
            }
        }
    }

    /// An endpoint that has channels; others are not known here.
    fn endpoint(&self, technology: &str, resource: &str) -> Result<Value, RequestFailure> {
        let name = format!("{technology}/{resource}").to_lowercase();
        let is_its = |channel: &WorldChannel| {
            let own = channel.name.to_lowercase();
            let rest = own.strip_prefix(name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let channels = self.channels.iter().filter(|(_, channel)| is_its(channel));
        let ids: Vec<&String> = channels.map(|(id, _)| id).collect();
        if ids.is_empty() {
            return refuse(404, "Endpoint not found");
        }
        Ok(
            json!({ "technology": technology, "resource": resource, "state": "online", "channel_ids": ids }),
        )
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
        let number = self.next_port();
        let port = Some(number);
        let name = format!("UnicastRTP/{host}-0x{number:x}");
        let mut description = json!({ "id": id, "name": name, "state": "Down" });
        if self.tells_source {
            description["channelvars"] = json!({
                "UNICASTRTP_LOCAL_PORT": number.to_string(), "UNICASTRTP_LOCAL_ADDRESS": "127.0.0.1",
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

    fn snoop(&mut self, id: &str, snoop: &str, spy: SnoopSide) -> Result<Value, RequestFailure> {
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

    fn cannot_list(&self) -> bool {
        self.undescribable
            .iter()
            .any(|id| self.channels.contains_key(id))
    }

    fn claim(&mut self, id: &str) -> Result<Value, RequestFailure> {
        match self.offers.get(id) {
            None => refuse(404, "Channel not found or not in broadcast"),
            Some(false) => refuse(409, "Channel already claimed"),
            Some(true) => {
                self.offers.insert(id.to_owned(), false);
                self.enter(id);
                Ok(Value::Null)
            }
        }
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
            _ => match self.variables.get(&(id.to_owned(), name.to_owned())) {
                Some(value) => Ok(json!({ "value": value })),
                None => refuse(404, "Provided variable was not found"),
            },
        }
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
