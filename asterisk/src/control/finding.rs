//! A channel's name instead of its id: ARI takes ids only, but lists both.

use std::time::Instant;

use serde_json::Value;

use super::io::{CommandKind, Notice, RequestFailure};
use super::replies::read;
use super::{Control, Purpose};
use crate::model::Channel;
use crate::request::Request;

impl Control {
    /// The `Find` command.
    pub(super) fn find(&mut self, name: String, now: Instant) {
        if !self.is_connected() {
            let message = "Asterisk is not connected".to_owned();
            return self.refuse(CommandKind::Find, name, None, message);
        }
        self.send(Request::ListChannels, Purpose::Find { name }, now);
    }

    /// As Asterisk does where it takes names: no matter the case.
    pub(super) fn on_found(&mut self, name: String, result: Result<Value, RequestFailure>) {
        let channels = match read::<Vec<Channel>>(result) {
            Ok(channels) => channels,
            Err(failure) => return self.refuse_for(CommandKind::Find, &name, &failure),
        };
        let exact = channels.iter().find(|channel| channel.name == name);
        let alike = || {
            let mut alike = channels.iter();
            alike.find(|channel| channel.name.eq_ignore_ascii_case(&name))
        };
        match exact.or_else(alike).map(|channel| channel.id.clone()) {
            Some(channel) => self.notice(Notice::ChannelFound { name, channel }),
            None => {
                let message = "no channel has this name".to_owned();
                self.refuse(CommandKind::Find, name, Some(404), message);
            }
        }
    }
}
