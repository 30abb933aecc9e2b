//! Replies, by what the request was for.

use std::time::Instant;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::debug;

use super::io::RequestFailure;
use super::{CallControl, RequestPurpose};

impl CallControl {
    pub(super) fn settle_reply(
        &mut self,
        purpose: RequestPurpose,
        result: Result<Value, RequestFailure>,
        now: Instant,
    ) {
        self.count(&purpose, &result);
        match purpose {
            RequestPurpose::Leg { call, generation } => {
                self.on_leg_reply(&call, generation, result, now)
            }
            RequestPurpose::Variable {
                call,
                generation,
                place,
            } => self.on_variable(&call, generation, place, result, now),
            RequestPurpose::Ports { call, generation } => {
                if let Err(failure) = result {
                    self.refuse_ports(&call, generation, &failure, now);
                }
            }
            RequestPurpose::Originate { call } => self.on_originated(&call, result, now),
            RequestPurpose::Find { name } => self.on_found(name, result, now),
            RequestPurpose::SearchList { search, source } => {
                self.on_search_list(search, source, result, now)
            }
            RequestPurpose::SearchOne { search } => self.on_searched(search, result, now),
            RequestPurpose::PeerLook { call } => self.on_peer_looked(&call, result, now),
            RequestPurpose::PeerSubscribe { call, peer } => {
                self.on_peer_subscribed(&call, peer, &result, now)
            }
            RequestPurpose::PeerCheck { call, peer } => {
                self.on_peer_checked(&call, &peer, result, now)
            }
            RequestPurpose::TapLook { call } => self.on_tap_looked(&call, result, now),
            RequestPurpose::TapSubscribe { call } => self.on_tap_subscribed(&call, result, now),
            // Whoever was first has it; if that is us, its StasisStart follows.
            RequestPurpose::Claim => {}
            RequestPurpose::Follow { call } => self.on_followed(&call, &result),
            RequestPurpose::Tapped { call, generation } => {
                self.on_tapped_looked(&call, generation, &result, now);
            }
            RequestPurpose::Settle(object) => self.removal_settled(&object),
            RequestPurpose::Remove(object) => {
                let is_heard = self.is_still_heard(&object, &result);
                self.on_removal_reply(&object, result.map(|_| ()), is_heard, now)
            }
            RequestPurpose::PartyLook(channel) => self.on_party_looked(&channel, result, now),
            purpose @ (RequestPurpose::Channels
            | RequestPurpose::Bridges
            | RequestPurpose::Application
            | RequestPurpose::OneChannel(_)
            | RequestPurpose::OneBridge(_)) => self.settle_listing(purpose, result, now),
        }
    }

    fn settle_listing(
        &mut self,
        purpose: RequestPurpose,
        result: Result<Value, RequestFailure>,
        now: Instant,
    ) {
        match purpose {
            RequestPurpose::Channels => {
                let channels = read(result);
                self.on_listed(now, |listing| listing.take_channels(channels));
            }
            RequestPurpose::Bridges => {
                let bridges = read(result);
                self.on_listed(now, |listing| listing.take_bridges(bridges));
            }
            RequestPurpose::Application => {
                let application = read(result);
                self.on_listed(now, |listing| {
                    application.map(|app| listing.application = Some(app))
                });
            }
            RequestPurpose::OneChannel(id) => self.on_one_channel(id, result, now),
            RequestPurpose::OneBridge(id) => self.on_one_bridge(id, result, now),
            _ => {}
        }
    }

    fn count(&mut self, purpose: &RequestPurpose, result: &Result<Value, RequestFailure>) {
        let Err(failure) = result else { return };
        debug!(?purpose, %failure, "not granted");
        let is_usual = match purpose {
            // Most channels have none.
            RequestPurpose::Variable { .. } => failure.status() == Some(404),
            // It is gone already.
            RequestPurpose::PartyLook(_) => failure.status() == Some(404),
            // Another was faster, or nobody was fast enough.
            RequestPurpose::Claim => matches!(failure.status(), Some(404 | 409)),
            _ => false,
        };
        if is_usual {
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
