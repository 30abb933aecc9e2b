//! The lives of a channel's id. Whoever originates chooses ids, and may use one again as soon
//! as its channel is gone; what tells the two channels apart is when they were created.

use tracing::debug;

use super::CallControl;
use super::call::{CallStage, ObjectOwner};
use super::io::ControlNotice;
use crate::event::AriEvent;

impl CallControl {
    /// Whether an event is about another channel of the id of a call's own. One that enters our
    /// application proves that the call's channel is gone, though nobody said so: the call
    /// ends, and the event is the new channel's.
    pub(super) fn is_of_another_life(&mut self, event: &AriEvent) -> bool {
        let Some(channel) = event.channel() else {
            return false;
        };
        let Some(ObjectOwner::Party { call: id }) = self.owners.get(&channel.id).cloned() else {
            return false;
        };
        let call = self.calls.get(&id);
        if !call.is_some_and(|call| channel.is_another(call.created_at)) {
            return false;
        }
        if matches!(event, AriEvent::StasisStart { .. }) {
            self.tell_gone(&id);
            self.close_known_or(&id, "ended unheard; its channel's id was used again");
            return false;
        }
        debug!(
            call = id,
            kind = event.kind(),
            "of an earlier channel of that id"
        );
        true
    }

    /// Tells once that the channel of a call is gone.
    pub(super) fn tell_gone(&mut self, id: &str) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if !call.gone && !matches!(call.stage, CallStage::Asking(_)) {
            call.gone = true;
            let call = id.to_owned();
            self.notice(ControlNotice::ChannelGone { call });
        }
    }
}
