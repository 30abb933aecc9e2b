//! A channel's name instead of its id: ARI takes ids only, but lists both.

use std::time::Instant;

use serde_json::Value;

use super::io::{CommandKind, ControlNotice, RequestFailure};
use super::replies::read;
use super::{CallControl, RequestPurpose};
use crate::model::AriChannel;
use crate::request::AriRequest;

impl CallControl {
    /// The `Find` command.
    pub(super) fn find(&mut self, name: String, now: Instant) {
        if !self.is_connected() {
            let message = "Asterisk is not connected".to_owned();
            return self.refuse(CommandKind::Find, name, None, message);
        }
        self.send(AriRequest::ListChannels, RequestPurpose::Find { name }, now);
    }

    /// As Asterisk does where it takes names: no matter the case.
    pub(super) fn on_found(&mut self, name: String, result: Result<Value, RequestFailure>) {
        let channels = match read::<Vec<AriChannel>>(result) {
            Ok(channels) => channels,
            Err(failure) => return self.refuse_for(CommandKind::Find, &name, &failure),
        };
        let exact = channels.iter().find(|channel| channel.name == name);
        let alike = || {
            let mut alike = channels.iter();
            alike.find(|channel| channel.name.eq_ignore_ascii_case(&name))
        };
        match exact.or_else(alike).map(|channel| channel.id.clone()) {
            Some(channel) => self.notice(ControlNotice::ChannelFound { name, channel }),
            None => {
                let message = "no channel has this name".to_owned();
                self.refuse(CommandKind::Find, name, Some(404), message);
            }
        }
    }
}
