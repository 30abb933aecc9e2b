//! State of one call: plain data, and total functions over it.

use std::net::SocketAddr;
use std::time::Instant;

use jiff::Timestamp;

use super::config::CallKind;
use super::peer::{BridgeStay, PeerTie};
use super::ports::CallEntry;
use super::teardown::{AriObject, TeardownAction, TeardownRank};
use super::variables::VariableProgress;
use crate::model::{AriChannel, PartyId};
use crate::request::SnoopSide;

/// A call that this process opened or wants to open.
#[derive(Debug)]
pub(super) struct ControlledCall {
    pub(super) kind: CallKind,
    pub(super) target: usize,
    /// Number of the listing that was under way or last done when its channel was last known.
    pub(super) epoch: u64,
    pub(super) stage: CallStage,
    pub(super) answered: bool,
    /// When its channel was created, once that is told. Whoever dials may use a channel's id
    /// again, and that is another call.
    pub(super) created_at: Option<Timestamp>,
    /// The other application that its `Stasis()` named when it came to us: it had been moved.
    pub(super) moved_from: Option<String>,
    /// Whether it was told that its channel is gone.
    pub(super) gone: bool,
    /// Whom its channel was last told to be connected to.
    pub(super) connected: PartyId,
    /// Bridge that its channel is in, of a tapped one.
    pub(super) bridge: BridgeStay,
    /// Channel that it is alone with there.
    pub(super) peer: PeerTie,
    /// Sides whose device has put the other one on hold.
    pub(super) on_hold: Vec<&'static str>,
    /// Its channel has been in our application.
    pub(super) in_stasis: bool,
    pub(super) legs: Vec<MediaLeg>,
    /// RTP addresses for legs that are still to be set up.
    pub(super) ports: Vec<SocketAddr>,
    /// Its channel's variables, while they are being asked for.
    pub(super) variables: Option<VariableProgress>,
    /// How often a leg's media was set up anew, over all legs.
    pub(super) renewals: u32,
    /// Set-up waits until this group of removals is through.
    pub(super) hold: Option<u64>,
    /// Group of removals to which everything made for it was handed, once it was.
    pub(super) taken_down: Option<u64>,
    /// How we hear of its channel beyond its stay in our application.
    pub(super) following: ChannelSubscription,
}

/// Whether events of a call's channel are heard after it left our application: its end, above
/// all, which alone tells the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChannelSubscription {
    No,
    /// The subscription was requested, so it must be undone.
    Yes,
    /// The channel is gone, and with it the subscription.
    Over,
}

/// Stage of a call's life, from the first request to its end.
#[derive(Debug)]
pub(super) enum CallStage {
    /// Asked of Asterisk; nobody has been told of it yet.
    Asking(SetupRequest),
    /// The called party's phone rings; at `until` the call is given up.
    Ringing { until: Instant },
    /// The channel is in the ARI application, or the call is a tap.
    Active,
    /// Media is being torn down; a sign of a more precise cause may still come.
    Ending(PendingHangup),
}

/// The request that opens a call and is not answered yet.
#[derive(Debug)]
pub(super) enum SetupRequest {
    /// RTP addresses for its legs, before anything else.
    Ports {
        /// Tells this wait from all others: an answer to an earlier one is ignored.
        generation: u64,
        entry: Box<CallEntry>,
    },
    Originate,
    Tap {
        /// The tapped channel as Asterisk showed it; `None` until the look-up has answered.
        channel: Option<Box<AriChannel>>,
        /// The call is taken up again for an earlier process; no command waits for it.
        resumed: bool,
    },
}

/// End of a call whose media is being torn down.
#[derive(Debug)]
pub(super) struct PendingHangup {
    pub(super) until: Instant,
    pub(super) cause: Option<u16>,
    /// Reason given by this server, which outranks the name of the Q.850 cause.
    pub(super) reason: Option<String>,
    /// Asterisk's text for the cause.
    pub(super) cause_text: Option<String>,
    /// Somebody hung it up; it did not just leave our application.
    pub(super) hung_up: bool,
}

/// A sign that a call's channel is going.
#[derive(Debug)]
pub(super) enum HangupSign {
    /// The call left our application, or cannot be found.
    Left,
    /// The call is hung up.
    HungUp {
        cause: Option<u16>,
        /// Asterisk's text for the cause.
        text: Option<String>,
    },
}

/// Q.850 cause of a call that was hung up without another.
const NORMAL_CLEARING: u16 = 16;

impl PendingHangup {
    pub(super) fn new(until: Instant, reason: Option<String>) -> Self {
        Self {
            until,
            cause: None,
            reason,
            cause_text: None,
            hung_up: false,
        }
    }

    /// Notes whether the channel was hung up, and the cause that the sign names.
    pub(super) fn take(&mut self, sign: HangupSign) {
        if let HangupSign::HungUp { cause, text } = sign {
            self.hung_up = true;
            self.learn(cause, text);
        }
    }

    /// Nothing better will come. A call that was under way and was hung up without a cause, as
    /// by a BYE without a Reason header, was cleared normally.
    pub(super) fn conclude(&mut self, was_under_way: bool) {
        if self.hung_up && was_under_way && self.known_cause().is_none() {
            self.cause = Some(NORMAL_CLEARING);
            self.cause_text = None;
        }
    }

    /// Takes a cause if it says more than the one known: 0 means "not defined".
    pub(super) fn learn(&mut self, cause: Option<u16>, text: Option<String>) {
        let says_more = match (self.cause, cause) {
            (_, None) => false,
            (None | Some(0), Some(_)) => true,
            (Some(_), Some(new)) => new != 0 && text.is_some(),
        };
        if says_more {
            self.cause = cause;
            self.cause_text = text;
        }
    }

    /// Q.850 cause, if one other than 0 is known.
    pub(super) fn known_cause(&self) -> Option<u16> {
        self.cause.filter(|cause| *cause != 0)
    }

    /// Reason for the end in words; `fallback` if none is known.
    pub(super) fn text(&self, fallback: &str) -> String {
        if let Some(reason) = &self.reason {
            return reason.clone();
        }
        match (&self.cause_text, self.known_cause()) {
            (Some(text), Some(_)) if !text.is_empty() => text.clone(),
            (_, Some(cause)) => cause_name(cause),
            _ => fallback.to_owned(),
        }
    }
}

/// Asterisk's own words for the commonest Q.850 causes; some events give only the number.
fn cause_name(cause: u16) -> String {
    match cause {
        1 => "Unallocated (unassigned) number".to_owned(),
        16 => "Normal Clearing".to_owned(),
        17 => "User busy".to_owned(),
        18 => "No user responding".to_owned(),
        19 => "User alerting, no answer".to_owned(),
        20 => "Subscriber absent".to_owned(),
        21 => "Call Rejected".to_owned(),
        26 => "Answered elsewhere".to_owned(),
        31 => "Normal, unspecified".to_owned(),
        34 => "Circuit/channel congestion".to_owned(),
        38 => "Network out of order".to_owned(),
        127 => "Interworking, unspecified".to_owned(),
        other => format!("cause {other}"),
    }
}

/// Where a leg with an RTP address of its own is heard, and whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LegAddress {
    pub(super) at: SocketAddr,
    pub(super) source: SocketAddr,
}

/// One leg of a call: its media channel, its bridge and how far their set-up is.
#[derive(Debug)]
pub(super) struct MediaLeg {
    pub(super) label: &'static str,
    /// Unique among all legs ever: replies and events for a leg that was replaced find nobody.
    pub(super) generation: u64,
    /// Its own RTP address, where legs have one.
    pub(super) at: Option<SocketAddr>,
    /// Its media source has been announced, and with it that the RTP address is this leg's.
    pub(super) told: bool,
    /// Source that was announced, Asterisk's RTP address and port.
    pub(super) source: Option<SocketAddr>,
    /// Where it was heard before its media had to be made anew: still its own until another
    /// source is told for it.
    pub(super) former: Option<LegAddress>,
    /// Its own RTP address is the former one, for want of another.
    pub(super) keeps_place: bool,
    /// Direction of the tapped channel that the leg's snoop listens to; `None` where the call's own
    /// channel is bridged.
    pub(super) spy: Option<SnoopSide>,
    pub(super) bridge: LegObject,
    pub(super) media: LegObject,
    pub(super) snoop: Option<LegObject>,
    pub(super) step: LegStep,
    pub(super) deadline: Instant,
    pub(super) joins: u32,
    /// Number of the listing that was last begun when the leg came up.
    pub(super) epoch: u64,
}

impl MediaLeg {
    /// Where the party is heard until this leg's media is made anew.
    pub(super) fn heard_at(&self) -> Option<LegAddress> {
        if !self.told {
            return self.former;
        }
        let place = self.at.zip(self.source);
        let place = place.map(|(at, source)| LegAddress { at, source });
        // It keeps its former address, and its new source is still to be told.
        place.or_else(|| self.former.filter(|former| Some(former.at) == self.at))
    }

    /// First step of the leg's set-up once it has its RTP address: answering a Stasis or placed
    /// call, else making the bridge.
    pub(super) fn first_step(&self, answered: bool) -> LegStep {
        if self.spy.is_none() && !answered {
            LegStep::Answer
        } else {
            LegStep::Bridge
        }
    }

    /// Whether every channel to be bridged has been seen in our application.
    pub(super) fn is_gathered(&self) -> bool {
        self.media.in_stasis && self.snoop.as_ref().is_none_or(|snoop| snoop.in_stasis)
    }

    /// Channels and bridge to be removed with the leg, each with how and in which order.
    pub(super) fn objects(&self) -> Vec<(AriObject, TeardownAction, TeardownRank)> {
        let mut objects = Vec::new();
        if self.media.asked {
            objects.push((
                AriObject::Channel(self.media.id.clone()),
                TeardownAction::Delete,
                TeardownRank::Media,
            ));
        }
        if let Some(snoop) = self.snoop.as_ref().filter(|snoop| snoop.asked) {
            objects.push((
                AriObject::Channel(snoop.id.clone()),
                TeardownAction::Delete,
                TeardownRank::Snoop,
            ));
        }
        if self.bridge.asked {
            objects.push((
                AriObject::Bridge(self.bridge.id.clone()),
                TeardownAction::Delete,
                TeardownRank::Bridge,
            ));
        }
        objects
    }

    /// The object whose creation is under way, if one is.
    pub(super) fn in_creation(&self) -> Option<AriObject> {
        match self.step {
            LegStep::Bridge => Some(AriObject::Bridge(self.bridge.id.clone())),
            LegStep::Media => Some(AriObject::Channel(self.media.id.clone())),
            LegStep::Snoop => self
                .snoop
                .as_ref()
                .map(|snoop| AriObject::Channel(snoop.id.clone())),
            _ => None,
        }
    }
}

/// A bridge or channel that was made, or is to be made, for a leg.
#[derive(Debug)]
pub(super) struct LegObject {
    pub(super) id: String,
    /// Its creation was requested, so it may exist.
    pub(super) asked: bool,
    pub(super) in_stasis: bool,
}

impl LegObject {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            asked: false,
            in_stasis: false,
        }
    }
}

/// How far a leg's set-up is. At most one request of a leg is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LegStep {
    /// Set-up has not begun, or is held back.
    Idle,
    /// Waiting for an RTP address of its own.
    Lease,
    Answer,
    Bridge,
    Snoop,
    Media,
    /// Asking for the port that the media request's answer did not tell.
    Port,
    /// Asking for the address, with the port known.
    Address(u16),
    /// Waiting for the channels' own StasisStart.
    Gather,
    Join,
    /// Refused because a channel was not quite there; again at this time.
    JoinAgain(Instant),
    Up,
    /// The connection broke during set-up; the next listing decides.
    Lost,
}

/// The call, and the part of it, that an Asterisk object belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ObjectOwner {
    Party { call: String },
    Media { call: String, generation: u64 },
    Snoop { call: String, generation: u64 },
    Bridge,
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn ending(now: Instant) -> PendingHangup {
        PendingHangup::new(now, None)
    }

    #[test]
    fn a_hang_up_without_a_cause_is_a_normal_one_where_there_was_a_call() {
        for (sign, was_under_way, cause) in [
            (HangupSign::Left, true, None),
            (
                HangupSign::HungUp {
                    cause: None,
                    text: None,
                },
                true,
                Some(16),
            ),
            (
                HangupSign::HungUp {
                    cause: Some(0),
                    text: Some("Unknown".into()),
                },
                true,
                Some(16),
            ),
            (
                HangupSign::HungUp {
                    cause: Some(17),
                    text: None,
                },
                true,
                Some(17),
            ),
            (
                HangupSign::HungUp {
                    cause: Some(0),
                    text: Some("Unknown".into()),
                },
                false,
                None,
            ),
        ] {
            let mut e = ending(crate::testkit::t0());
            e.take(sign);
            e.conclude(was_under_way);
            assert_eq!(e.known_cause(), cause);
        }
    }

    #[test]
    fn the_best_cause_wins() {
        let mut e = ending(crate::testkit::t0());
        e.learn(None, Some("nothing".into()));
        assert_eq!(e.text("gone"), "gone");
        e.learn(Some(0), Some("Unknown".into()));
        assert_eq!((e.known_cause(), e.text("gone")), (None, "gone".into()));
        e.learn(Some(16), None);
        assert_eq!(
            (e.cause, e.text("gone")),
            (Some(16), "Normal Clearing".into())
        );
        e.learn(Some(0), Some("Unknown".into()));
        assert_eq!(e.cause, Some(16));
        e.learn(Some(17), Some("User busy".into()));
        assert_eq!((e.cause, e.text("gone")), (Some(17), "User busy".into()));
        e.learn(Some(99), None);
        assert_eq!(e.cause, Some(17));
        e.reason = Some("hung up on request".into());
        assert_eq!(
            (e.cause, e.text("gone")),
            (Some(17), "hung up on request".into())
        );
    }
}
