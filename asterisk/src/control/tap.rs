//! The way in that leaves the call alone: a channel that is not ours is looked up, its
//! events are subscribed to, and its two sides are spied on.

use std::time::Instant;

use serde_json::Value;

use super::call::{CallStage, ChannelSubscription, SetupRequest};
use super::io::{CommandKind, ControlNotice, RequestFailure};
use super::ports::CallEntry;
use super::replies::read;
use super::teardown::AriObject;
use super::{CallControl, RequestPurpose};
use crate::model::AriChannel;
use crate::request::AriRequest;

impl CallControl {
    /// Begins to tap a channel.
    pub(super) fn tap(&mut self, call: String, now: Instant) {
        let admitted = self.admit(&call).and_then(|()| {
            if self.naming.read(&call).is_some() {
                // Whoever made it, it is taken up or removed with the next listing.
                Err((Some(409), "this channel is one of our own".to_owned()))
            } else if self
                .removals
                .contains_key(&AriObject::Subscription(call.clone()))
            {
                Err((
                    Some(409),
                    "an earlier tap of it is still being taken down".to_owned(),
                ))
            } else {
                Ok(())
            }
        });
        if let Err((status, message)) = admitted {
            self.refuse(CommandKind::Tap, call, status, message);
            return;
        }
        self.enter(&call, CallEntry::Tap, None, now);
    }

    /// Asks to hear of a caller's channel beyond its stay in our application, which ends before
    /// the channel does: only then is it told why.
    pub(super) fn follow(&mut self, id: &str, now: Instant) {
        let subscription = AriObject::Subscription(id.to_owned());
        if self.removals.contains_key(&subscription) {
            return;
        }
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        call.following = ChannelSubscription::Yes;
        let request = AriRequest::Subscribe {
            app: self.config.app.clone(),
            channel: id.to_owned(),
        };
        let call = id.to_owned();
        self.send(request, RequestPurpose::Follow { call }, now);
    }

    pub(super) fn on_followed(&mut self, id: &str, result: &Result<Value, RequestFailure>) {
        // Silence proves nothing; a refusal leaves nothing to be undone.
        if matches!(result, Err(RequestFailure::Refused { .. }))
            && let Some(call) = self.calls.get_mut(id)
            && call.following == ChannelSubscription::Yes
        {
            call.following = ChannelSubscription::No;
        }
    }

    /// Asks what the channel to be tapped is.
    pub(super) fn look_up(&mut self, id: &str, now: Instant) {
        let (channel, call) = (id.to_owned(), id.to_owned());
        let request = AriRequest::GetChannel { channel };
        self.send(request, RequestPurpose::TapLook { call }, now);
    }

    pub(super) fn on_tap_looked(
        &mut self,
        id: &str,
        result: Result<Value, RequestFailure>,
        now: Instant,
    ) {
        let channel = match read::<AriChannel>(result) {
            Ok(channel) => channel,
            Err(failure) => return self.refuse_asking(id, &failure),
        };
        if channel.id != id {
            // Some Asterisks take names for ids here; for what follows they do not.
            let (status, message) = (404, "no channel has this id".to_owned());
            return self.refuse_asking(id, &RequestFailure::Refused { status, message });
        }
        if channel.is_media() {
            let message = "this channel carries an application's media, not a party".to_owned();
            return self.refuse_asking(
                id,
                &RequestFailure::Refused {
                    status: 422,
                    message,
                },
            );
        }
        self.subscribe(id, channel, false, now);
    }

    /// Asks to hear of a channel to be tapped.
    pub(super) fn subscribe(&mut self, id: &str, channel: AriChannel, resumed: bool, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        call.stage = CallStage::Asking(SetupRequest::Tap {
            channel: Some(Box::new(channel)),
            resumed,
        });
        let request = AriRequest::Subscribe {
            app: self.config.app.clone(),
            channel: id.to_owned(),
        };
        self.send(
            request,
            RequestPurpose::TapSubscribe {
                call: id.to_owned(),
            },
            now,
        );
    }

    pub(super) fn on_tap_subscribed(
        &mut self,
        id: &str,
        result: Result<Value, RequestFailure>,
        now: Instant,
    ) {
        if let Err(failure) = result {
            return self.refuse_asking(id, &failure);
        }
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let CallStage::Asking(SetupRequest::Tap {
            channel: Some(channel),
            resumed,
        }) = &mut call.stage
        else {
            return;
        };
        let (channel, resumed) = (std::mem::take(channel), *resumed);
        call.stage = CallStage::Active;
        call.connected = channel.connected.clone();
        call.epoch = self.epoch;
        let held = call.hold.is_some();
        self.tell_opened(id, &channel, resumed);
        if !resumed {
            self.notice(ControlNotice::CommandAccepted {
                command: CommandKind::Tap,
                call: id.to_owned(),
            });
        }
        if !held {
            self.open_legs(id, now);
        }
        self.look_for_peer(id, now);
    }
}
