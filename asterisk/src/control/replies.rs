//! Replies, by what the request was for.

use std::time::Instant;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::debug;

use super::io::RequestFailure;
use super::{Control, Purpose};

impl Control {
    pub(super) fn settle_reply(
        &mut self,
        purpose: Purpose,
        result: Result<Value, RequestFailure>,
        now: Instant,
    ) {
        self.count(&purpose, &result);
        match purpose {
            Purpose::Leg { call, generation } => self.on_leg_reply(&call, generation, result, now),
            Purpose::Variable {
                call,
                generation,
                place,
            } => self.on_variable(&call, generation, place, result, now),
            Purpose::Ports { call, generation } => {
                if let Err(failure) = result {
                    self.refuse_ports(&call, generation, &failure, now);
                }
            }
            Purpose::Originate { call } => self.on_originated(&call, result, now),
            Purpose::TapLook { call } => self.on_tap_looked(&call, result, now),
            Purpose::TapSubscribe { call } => self.on_tap_subscribed(&call, result, now),
            Purpose::Settle(object) => self.removal_settled(&object),
            Purpose::Remove(object) => self.on_removal_reply(&object, result.map(|_| ()), now),
            Purpose::Channels => {
                let channels = read(result);
                self.on_listed(now, |listing| {
                    channels.map(|channels| listing.channels = Some(channels))
                });
            }
            Purpose::Bridges => {
                let bridges = read(result);
                self.on_listed(now, |listing| {
                    bridges.map(|bridges| listing.bridges = Some(bridges))
                });
            }
            Purpose::Application => {
                let application = read(result);
                self.on_listed(now, |listing| {
                    application.map(|app| listing.application = Some(app))
                });
            }
        }
    }

    fn count(&mut self, purpose: &Purpose, result: &Result<Value, RequestFailure>) {
        let Err(failure) = result else { return };
        debug!(?purpose, %failure, "not granted");
        // Most channels have none.
        if matches!(purpose, Purpose::Variable { .. }) && failure.status() == Some(404) {
            return;
        }
        match failure {
            RequestFailure::Refused { .. } => self.stats.refused += 1,
            RequestFailure::Unreachable(_) => self.stats.unreachable += 1,
            RequestFailure::TimedOut => self.stats.timed_out += 1,
            RequestFailure::NoPort(_) => {}
        }
    }
}

/// Reads a reply as what it should be.
pub(super) fn read<T: DeserializeOwned>(
    result: Result<Value, RequestFailure>,
) -> Result<T, RequestFailure> {
    serde_json::from_value(result?).map_err(|error| {
        RequestFailure::Unreachable(format!("an answer that cannot be read: {error}"))
    })
}
