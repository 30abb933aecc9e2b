//! Plays a machine against the world, in virtual time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{AddressPool, AsteriskWorld};
use crate::control::{
    CallControl, ControlCommand, ControlConfig, ControlInput, ControlNotice, ControlOutput,
    ObjectNaming, RequestFailure, RequestId,
};
use crate::event::AriEvent;
use crate::request::AriRequest;

/// Fault that a request meets with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFault {
    /// The request is carried out and answered.
    None,
    /// The request is refused with this status.
    Refused(u16),
    /// The request does not arrive.
    Unreachable,
    /// The request is carried out, but the connection breaks before the answer.
    BrokenOff,
    /// The request does not arrive, and nobody says so.
    Swallowed,
    /// The request is carried out, but the answer is lost.
    Unanswered,
    /// The request is carried out only at [`ControlRig::carry_out_late`], and never answered.
    Late,
}

/// Which comes first when both a reply and an event wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOrder {
    /// Replies.
    RepliesFirst,
    /// Events.
    EventsFirst,
}

type FaultRule = Box<dyn FnMut(&AriRequest) -> RequestFault + Send>;

/// A machine, a world, and what passes between them.
pub struct ControlRig {
    /// The machine.
    pub control: CallControl,
    /// Simulated Asterisk.
    pub world: AsteriskWorld,
    /// Virtual time.
    pub now: Instant,
    /// Order in which replies and events are delivered.
    pub order: DeliveryOrder,
    /// Every notice so far.
    pub notices: Vec<ControlNotice>,
    /// Every request so far.
    pub requests: Vec<AriRequest>,
    /// RTP addresses of legs, where they have their own.
    pub ports: AddressPool,

    own_ports: bool,
    naming: ObjectNaming,
    faults: FaultRule,
    replies: VecDeque<(RequestId, Result<Value, RequestFailure>)>,
    late: Vec<AriRequest>,
    /// Channels that were looked at in vain.
    unseen: BTreeSet<String>,
}

impl ControlRig {
    /// A machine with these settings, not connected.
    ///
    /// # Panics
    /// If the settings cannot work.
    pub fn new(config: ControlConfig, world: AsteriskWorld, now: Instant) -> Self {
        let (naming, own_ports) = (config.naming(), config.own_ports);
        let control = CallControl::new(config, now).expect("the rig is given settings that work");
        Self {
            control,
            world,
            now,
            order: DeliveryOrder::RepliesFirst,
            notices: Vec::new(),
            requests: Vec::new(),
            ports: AddressPool::default(),
            own_ports,
            naming,
            faults: Box::new(|_| RequestFault::None),
            replies: VecDeque::new(),
            late: Vec::new(),
            unseen: BTreeSet::new(),
        }
    }

    /// Decides from now on what becomes of requests.
    pub fn set_faults(&mut self, rule: impl FnMut(&AriRequest) -> RequestFault + Send + 'static) {
        self.faults = Box::new(rule);
    }

    /// Everything goes well from now on.
    pub fn clear_faults(&mut self) {
        self.set_faults(|_| RequestFault::None);
    }

    /// The websocket comes up.
    pub fn connect(&mut self) {
        self.world.connected = true;
        self.input(ControlInput::Connected);
    }

    /// The websocket breaks; replies that are out are lost.
    pub fn disconnect(&mut self) {
        self.world.disconnect();
        self.replies.clear();
        self.input(ControlInput::Disconnected);
    }

    /// Another server takes the application over, and this websocket falls silent.
    pub fn take_over(&mut self) {
        self.world.disconnect();
        self.replies.clear();
        let app = self.world.app();
        let text = format!(r#"{{"type":"ApplicationReplaced","application":"{app}"}}"#);
        let replaced = AriEvent::parse(&text).expect("an event");
        self.input(ControlInput::Event(replaced));
        self.input(ControlInput::Disconnected);
    }

    /// Gives a command.
    pub fn command(&mut self, command: ControlCommand) {
        self.input(ControlInput::Command(command));
    }

    /// Gives one input and carries out what comes of it.
    pub fn input(&mut self, input: ControlInput) {
        self.control.handle(input, self.now);
        self.drain();
    }

    /// Delivers the next reply; whether there was one.
    pub fn deliver_reply(&mut self, index: usize) -> bool {
        let Some((id, result)) = self
            .replies
            .remove(index.min(self.replies.len().saturating_sub(1)))
        else {
            return false;
        };
        self.input(ControlInput::Reply { id, result });
        true
    }

    /// Delivers the next event; whether there was one.
    pub fn deliver_event(&mut self) -> bool {
        let Some(event) = self.world.next_event() else {
            return false;
        };
        self.input(ControlInput::Event(event));
        true
    }

    /// Says of which source nobody hears, or gives the addresses that are wanted next, or none if
    /// too few are free; whether there was anything to be said.
    pub fn deliver_ports(&mut self) -> bool {
        let answer = self.ports.misplaced().or_else(|| self.ports.answer());
        let Some(answer) = answer else {
            return false;
        };
        self.command(answer);
        true
    }

    /// Delivers everything that waits, without time passing.
    ///
    /// # Panics
    /// If it never ends.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            let delivered = match self.order {
                DeliveryOrder::RepliesFirst => self.deliver_reply(0) || self.deliver_event(),
                DeliveryOrder::EventsFirst => self.deliver_event() || self.deliver_reply(0),
            };
            if !delivered && !self.deliver_ports() {
                return;
            }
        }
        panic!("replies and events without end");
    }

    /// Lets time pass, from deadline to deadline.
    ///
    /// # Panics
    /// If the machine asks for the same time for ever.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        self.settle();
        for _ in 0..100_000 {
            let ControlOutput::Wait(Some(at)) = self.control.poll() else {
                break;
            };
            if at > end {
                break;
            }
            self.now = self.now.max(at);
            self.input(ControlInput::Timer);
            self.settle();
        }
        assert!(self.now <= end, "time ran ahead");
        self.now = end;
        self.input(ControlInput::Timer);
        self.settle();
    }

    /// Carries out what was asked long ago.
    pub fn carry_out_late(&mut self) {
        for request in std::mem::take(&mut self.late) {
            // Nobody waits for the outcome.
            drop(self.world.execute(&request));
        }
    }

    /// Objects of ours in the world.
    pub fn ours(&self) -> Vec<String> {
        let mut ours = self.world.objects("");
        ours.retain(|id| self.naming.read(id).is_some());
        ours
    }

    /// Asserts that nothing is left on either side.
    ///
    /// # Panics
    /// If something is.
    pub fn assert_nothing_left(&self) {
        assert_eq!(self.ours(), Vec::<String>::new(), "left in the world");
        assert!(
            self.control.is_idle(),
            "left in the machine: {:?}",
            self.control
        );
    }

    /// Asserts that every call was opened once and closed at most once, with nothing told
    /// outside that span; returns the calls still open.
    ///
    /// # Panics
    /// If something was told out of turn.
    pub fn assert_calls_told_in_turn(&self) -> Vec<String> {
        let mut open: BTreeMap<&str, bool> = BTreeMap::new();
        for notice in &self.notices {
            match notice {
                ControlNotice::CallOpened { call, .. } => {
                    let before = open.insert(call, true);
                    assert_ne!(before, Some(true), "{call} opened twice");
                }
                ControlNotice::CallEnded { call, .. } | ControlNotice::CallFailed { call, .. } => {
                    let before = open.insert(call, false);
                    assert_eq!(before, Some(true), "{call} closed while not open");
                }
                ControlNotice::CallVariables { call, .. }
                | ControlNotice::LegOpening { call, .. }
                | ControlNotice::MediaSource { call, .. }
                | ControlNotice::MediaUp { call, .. }
                | ControlNotice::LegFailed { call, .. }
                | ControlNotice::CallAnswered { call }
                | ControlNotice::ChannelGone { call }
                | ControlNotice::StateChange { call, .. }
                | ControlNotice::PartyMayDiffer { call, .. }
                | ControlNotice::Dtmf { call, .. } => {
                    assert_eq!(
                        open.get(call.as_str()),
                        Some(&true),
                        "{notice:?} of a call that is not open"
                    );
                }
                _ => {}
            }
        }
        open.into_iter()
            .filter(|(_, open)| *open)
            .map(|(call, _)| call.to_owned())
            .collect()
    }

    fn drain(&mut self) {
        loop {
            match self.control.poll() {
                ControlOutput::Send { id, request } => self.carry_out(id, request),
                ControlOutput::Notice(notice) => {
                    self.ports.hear(&notice);
                    self.notices.push(notice);
                }
                ControlOutput::Wait(_) => return,
            }
        }
    }

    fn carry_out(&mut self, id: RequestId, request: AriRequest) {
        assert!(
            !self.control.is_replaced(),
            "another server is harmed by {request:?}"
        );
        if self.own_ports {
            self.ports.check(&request);
        }
        self.requests.push(request.clone());
        let fault = (self.faults)(&request);
        self.check_harm(&request, fault);
        let result = match fault {
            RequestFault::None => self.world.execute(&request),
            RequestFault::Refused(status) => Err(RequestFailure::Refused {
                status,
                message: "as scripted".to_owned(),
            }),
            RequestFault::Unreachable => Err(RequestFailure::Unreachable("as scripted".to_owned())),
            RequestFault::BrokenOff => {
                drop(self.world.execute(&request));
                Err(RequestFailure::Unreachable("as scripted".to_owned()))
            }
            RequestFault::Swallowed => return,
            RequestFault::Unanswered => {
                drop(self.world.execute(&request));
                return;
            }
            RequestFault::Late => {
                self.late.push(request);
                return;
            }
        };
        self.replies.push_back((id, result));
    }

    /// # Panics
    /// If a party is hung up who talks to others, and was there to be looked at.
    fn check_harm(&mut self, request: &AriRequest, fault: RequestFault) {
        match request {
            AriRequest::GetChannel { channel } if fault != RequestFault::None => {
                self.unseen.insert(channel.clone());
            }
            AriRequest::DeleteChannel { channel } if !self.unseen.contains(channel) => assert!(
                !self.world.is_elsewhere(channel),
                "{channel} is hung up in another conversation"
            ),
            _ => {}
        }
    }
}
