//! Another process has taken our application over.
//!
//! Asterisk tells its events to that one now, which takes the calls up as it finds them. What we
//! still did would be done to its calls: so everything is given up where it stands, nothing in
//! Asterisk is touched any more, and the next connection begins anew.

use tracing::warn;

use super::call::CallStage;
use super::config::CallKind;
use super::io::{CommandKind, ControlNotice, RequestFailure};
use super::stray::CallDeparture;
use super::{CallControl, LinkState, RequestPurpose};

/// The end of a call that another process goes on with.
const TAKEN_OVER: &str = "another server has taken the application over";

impl CallControl {
    pub(super) fn give_up(&mut self) {
        if matches!(self.link, LinkState::Replaced) {
            return;
        }
        warn!(
            app = self.config.app,
            calls = self.calls.len(),
            "{TAKEN_OVER}"
        );
        self.link = LinkState::Replaced;
        self.listing_at = None;
        let ids: Vec<String> = self.calls.keys().cloned().collect();
        for id in ids {
            self.give_up_call(&id);
        }
        let removals = std::mem::take(&mut self.removals);
        for call in removals.into_values().filter_map(|removal| removal.hangup) {
            let message = TAKEN_OVER.to_owned();
            self.refuse(CommandKind::Hangup, call, Some(503), message);
        }
        let gone = RequestFailure::Refused {
            status: 503,
            message: TAKEN_OVER.to_owned(),
        };
        self.refuse_searches(&gone);
        for (_, pending) in std::mem::take(&mut self.pending) {
            if let RequestPurpose::Find { name } = pending.purpose {
                self.refuse_for(CommandKind::Find, &name, &gone);
            }
        }
        self.notice(ControlNotice::Replaced);
    }

    fn give_up_call(&mut self, id: &str) {
        // A refusal by Asterisk leaves nothing to be removed.
        let refusal = RequestFailure::Refused {
            status: 503,
            message: TAKEN_OVER.to_owned(),
        };
        if self
            .calls
            .get(id)
            .is_some_and(|call| call.kind == CallKind::Initiated)
        {
            self.remember_departed(id, CallDeparture::TakenOver);
        }
        let given_up = ControlNotice::CallGivenUp {
            call: id.to_owned(),
        };
        match self.calls.get(id).map(|call| &call.stage) {
            Some(CallStage::Asking(_)) => self.refuse_asking(id, &refusal),
            Some(CallStage::Ending(_)) => {
                self.notice(given_up);
                self.close(id);
            }
            Some(CallStage::Ringing { .. } | CallStage::Active) => {
                self.notice(given_up);
                self.close_for(id, TAKEN_OVER);
            }
            None => {}
        }
    }
}
