//! A leg from its first request to bridged media.
//!
//! One request at a time: answer, bridge, snoop (for a tap), external media, then, once
//! every channel was seen entering our application, into the bridge. The order of reply
//! and events does not matter: a step ends with its reply, the gathering with the last event.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::call::{HangupSign, LegAddress, LegObject, LegStep, MediaLeg, ObjectOwner};
use super::config::CallKind;
use super::io::{ControlNotice, RequestFailure};
use super::{CallControl, OwnKind, RequestPurpose};
use crate::model::AriChannel;
use crate::request::{AriRequest, SnoopSide};
use serde_json::Value;

/// Bridgings tried before a leg is given up.
const JOINS: u32 = 10;
/// Pause after the first bridging that was refused; doubles up to a second.
const JOIN_PAUSE: Duration = Duration::from_millis(50);
const PORT: &str = "UNICASTRTP_LOCAL_PORT";
const ADDRESS: &str = "UNICASTRTP_LOCAL_ADDRESS";

impl CallControl {
    /// Begins the set-up of a call's media, with what its channel's variables are.
    pub(super) fn open_legs(&mut self, id: &str, now: Instant) {
        if let Some(call) = self.calls.get_mut(id) {
            call.hold = None;
        }
        if self.config.variables.is_empty() {
            self.begin_legs(id, now);
        } else {
            self.ask_variables(id, now);
        }
    }

    /// Begins the set-up of a call's legs, with nothing left to be asked before.
    pub(super) fn begin_legs(&mut self, id: &str, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        match call.kind {
            CallKind::Stasis | CallKind::Initiated => self.start_leg(id, "caller", None, None, now),
            CallKind::Tap => {
                self.start_leg(id, "caller", Some(SnoopSide::In), None, now);
                self.start_leg(id, "callee", Some(SnoopSide::Out), None, now);
            }
        }
    }

    /// Begins the set-up of one leg, for a party that was heard at `former` if it had media before.
    pub(super) fn start_leg(
        &mut self,
        id: &str,
        label: &'static str,
        spy: Option<SnoopSide>,
        former: Option<LegAddress>,
        now: Instant,
    ) {
        let generation = self.next_serial();
        let at = self.calls.get_mut(id).and_then(|call| call.ports.pop());
        let name = |kind| self.naming.part(generation, kind);
        let leg = MediaLeg {
            label,
            generation,
            at,
            told: false,
            source: None,
            former,
            keeps_place: false,
            spy,
            bridge: LegObject::new(name(OwnKind::Bridge)),
            media: LegObject::new(name(OwnKind::Media)),
            snoop: spy.map(|_| LegObject::new(name(OwnKind::Snoop))),
            step: LegStep::Idle,
            deadline: now + self.config.setup_timeout,
            joins: 0,
            epoch: self.epoch,
        };
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let first = if self.config.own_ports && at.is_none() {
            LegStep::Lease
        } else {
            leg.first_step(call.answered)
        };
        // Registered before any request goes out: events may overtake the replies.
        self.owners
            .insert(leg.bridge.id.clone(), ObjectOwner::Bridge);
        self.owners.insert(
            leg.media.id.clone(),
            ObjectOwner::Media {
                call: id.to_owned(),
                generation,
            },
        );
        if let Some(snoop) = &leg.snoop {
            self.owners.insert(
                snoop.id.clone(),
                ObjectOwner::Snoop {
                    call: id.to_owned(),
                    generation,
                },
            );
        }
        call.legs.push(leg);
        self.notice(ControlNotice::LegOpening {
            call: id.to_owned(),
            leg: label,
        });
        self.take_step(id, generation, first, now);
    }

    /// Enters a step and asks for what it needs.
    pub(super) fn take_step(&mut self, id: &str, generation: u64, step: LegStep, now: Instant) {
        let target = self
            .calls
            .get(id)
            .and_then(|call| self.config.targets.get(call.target))
            .copied();
        let Some(leg) = self.leg_mut(id, generation) else {
            return;
        };
        leg.step = step;
        let gathered = leg.is_gathered();
        match step {
            LegStep::Lease => return self.want_port(id, generation, now),
            LegStep::Gather if gathered => {
                return self.take_step(id, generation, LegStep::Join, now);
            }
            LegStep::Bridge => leg.bridge.asked = true,
            LegStep::Media => leg.media.asked = true,
            LegStep::Snoop => {
                if let Some(snoop) = &mut leg.snoop {
                    snoop.asked = true;
                }
            }
            LegStep::Join => leg.joins += 1,
            LegStep::Up => return self.leg_is_up(id, generation),
            _ => {}
        }
        if let Some(request) = self.step_request(id, generation, target) {
            self.send(
                request,
                RequestPurpose::Leg {
                    call: id.to_owned(),
                    generation,
                },
                now,
            );
        }
    }

    fn step_request(
        &self,
        id: &str,
        generation: u64,
        target: Option<SocketAddr>,
    ) -> Option<AriRequest> {
        let leg = self.leg(id, generation)?;
        let app = self.config.app.clone();
        let media = leg.media.id.clone();
        let variable = |name: &str| AriRequest::GetVariable {
            channel: leg.media.id.clone(),
            variable: name.to_owned(),
        };
        Some(match leg.step {
            LegStep::Answer => AriRequest::Answer {
                channel: id.to_owned(),
            },
            LegStep::Bridge => AriRequest::CreateBridge {
                bridge: leg.bridge.id.clone(),
            },
            LegStep::Snoop => AriRequest::Snoop {
                channel: id.to_owned(),
                snoop: leg.snoop.as_ref()?.id.clone(),
                app,
                spy: leg.spy?,
            },
            LegStep::Media => AriRequest::ExternalMedia {
                channel: media,
                app,
                external_host: leg.at.or(target)?.to_string(),
                format: self.config.format.clone(),
            },
            LegStep::Port => variable(PORT),
            LegStep::Address(_) => variable(ADDRESS),
            LegStep::Join => {
                let party = leg
                    .snoop
                    .as_ref()
                    .map_or_else(|| id.to_owned(), |snoop| snoop.id.clone());
                AriRequest::AddChannel {
                    bridge: leg.bridge.id.clone(),
                    channels: vec![party, media],
                }
            }
            LegStep::Idle
            | LegStep::Lease
            | LegStep::Gather
            | LegStep::JoinAgain(_)
            | LegStep::Up
            | LegStep::Lost => return None,
        })
    }

    pub(super) fn on_leg_reply(
        &mut self,
        id: &str,
        generation: u64,
        result: Result<Value, RequestFailure>,
        now: Instant,
    ) {
        let Some(leg) = self.leg(id, generation) else {
            return;
        };
        let (step, tapping) = (leg.step, leg.spy.is_some());
        let value = match result {
            Ok(value) => value,
            Err(failure) => return self.on_leg_refused(id, generation, &failure, now),
        };
        let next = match step {
            LegStep::Answer => {
                self.mark_answered(id);
                LegStep::Bridge
            }
            LegStep::Bridge if tapping => LegStep::Snoop,
            LegStep::Bridge | LegStep::Snoop => LegStep::Media,
            LegStep::Media => match source_in(&value) {
                Some(source) => self.tell_source(id, generation, source),
                None => LegStep::Port,
            },
            LegStep::Port => match variable_in(&value).and_then(|text| text.parse().ok()) {
                Some(port) => LegStep::Address(port),
                None => {
                    return self.fail_leg(
                        id,
                        generation,
                        "Asterisk does not tell its RTP port",
                        now,
                    );
                }
            },
            LegStep::Address(port) => match variable_in(&value).and_then(address) {
                Some(ip) => self.tell_source(id, generation, SocketAddr::new(ip, port)),
                None => {
                    return self.fail_leg(
                        id,
                        generation,
                        "Asterisk does not tell its RTP address",
                        now,
                    );
                }
            },
            LegStep::Join => LegStep::Up,
            LegStep::Idle
            | LegStep::Lease
            | LegStep::Gather
            | LegStep::JoinAgain(_)
            | LegStep::Up
            | LegStep::Lost => return,
        };
        self.take_step(id, generation, next, now);
    }

    fn on_leg_refused(
        &mut self,
        id: &str,
        generation: u64,
        failure: &RequestFailure,
        now: Instant,
    ) {
        let Some(leg) = self.leg_mut(id, generation) else {
            return;
        };
        let what = match leg.step {
            LegStep::Lease if leg.former.is_some() => {
                return self.leg_keeps_port(id, generation, now);
            }
            // The channel left between its event and our request; its own events say why.
            LegStep::Answer if matches!(failure.status(), Some(404 | 409 | 412)) => {
                return self.begin_end(id, HangupSign::Left, now);
            }
            LegStep::Snoop if failure.status() == Some(404) => {
                return self.begin_end(id, HangupSign::Left, now);
            }
            // 422 is the race with the channel's way into Stasis; bridging twice does no harm.
            LegStep::Join if leg.joins < JOINS => {
                let pause = JOIN_PAUSE * 2u32.saturating_pow(leg.joins - 1).min(20);
                leg.step = LegStep::JoinAgain(now + pause);
                self.stats.retries += 1;
                return;
            }
            LegStep::Lease => "it gets no address of its own",
            LegStep::Answer => "the channel could not be answered",
            LegStep::Bridge => "no bridge could be made",
            LegStep::Snoop => "the channel could not be listened to",
            LegStep::Media => "no media channel could be made",
            LegStep::Port | LegStep::Address(_) => {
                "Asterisk does not tell where its RTP comes from"
            }
            LegStep::Join => "its channels could not be bridged",
            LegStep::Idle
            | LegStep::Gather
            | LegStep::JoinAgain(_)
            | LegStep::Up
            | LegStep::Lost => return,
        };
        self.fail_leg(id, generation, &format!("{what}: {failure}"), now);
    }

    fn tell_source(&mut self, id: &str, generation: u64, source: SocketAddr) -> LegStep {
        if let Some(leg) = self.leg_mut(id, generation) {
            leg.told = true;
            leg.source = Some(source);
            let (leg, at) = (leg.label, leg.at);
            self.notice(ControlNotice::MediaSource {
                call: id.to_owned(),
                leg,
                source,
                format: self.config.format.clone(),
                at,
            });
        }
        LegStep::Gather
    }

    fn leg_is_up(&mut self, id: &str, generation: u64) {
        let epoch = self.epoch;
        if let Some(leg) = self.leg_mut(id, generation) {
            leg.epoch = epoch;
            let leg = leg.label;
            self.notice(ControlNotice::MediaUp {
                call: id.to_owned(),
                leg,
            });
        }
    }

    /// A media or snoop channel was seen entering our application.
    pub(super) fn part_entered(&mut self, channel: &str, id: &str, generation: u64, now: Instant) {
        let Some(leg) = self.leg_mut(id, generation) else {
            return;
        };
        if leg.media.id == channel {
            leg.media.in_stasis = true;
        }
        if let Some(snoop) = leg.snoop.as_mut().filter(|snoop| snoop.id == channel) {
            snoop.in_stasis = true;
        }
        if leg.step == LegStep::Gather && leg.is_gathered() {
            self.take_step(id, generation, LegStep::Join, now);
        }
    }

    pub(super) fn leg(&self, id: &str, generation: u64) -> Option<&MediaLeg> {
        self.calls
            .get(id)?
            .legs
            .iter()
            .find(|leg| leg.generation == generation)
    }

    pub(super) fn leg_mut(&mut self, id: &str, generation: u64) -> Option<&mut MediaLeg> {
        self.calls
            .get_mut(id)?
            .legs
            .iter_mut()
            .find(|leg| leg.generation == generation)
    }

    pub(super) fn take_leg(&mut self, id: &str, generation: u64) -> Option<MediaLeg> {
        let legs = &mut self.calls.get_mut(id)?.legs;
        let index = legs.iter().position(|leg| leg.generation == generation)?;
        Some(legs.remove(index))
    }
}

/// The RTP source that the answer to `externalMedia` tells, in Asterisks that do.
fn source_in(reply: &Value) -> Option<SocketAddr> {
    let channel: AriChannel = serde_json::from_value(reply.clone()).ok()?;
    let port = channel.channelvars.get(PORT)?.parse().ok()?;
    let ip = address(channel.channelvars.get(ADDRESS)?)?;
    Some(SocketAddr::new(ip, port))
}

pub(super) fn variable_in(reply: &Value) -> Option<&str> {
    reply.get("value")?.as_str()
}

fn address(text: &str) -> Option<IpAddr> {
    text.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}
