//! Slots of a shard: its calls, each with the time at which it is due. A datagram finds its call by
//! an index; a tick looks at one time for each call, side by side in memory, and not at the calls.

use std::collections::HashMap;
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use asterscribe_call::CallId;
use asterscribe_session::{CallSession, LegIndex};

use super::super::capture::SessionRecorder;
use super::LegKey;

/// Key of a call in the shard: slot and number. The number is never used twice, so a late answer or
/// datagram cannot reach another call in the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::media) struct SessionKey {
    slot: usize,
    number: u64,
}

impl SessionKey {
    /// Number of the call among those of all shards.
    pub(super) fn among_all(self, shard: usize) -> u64 {
        (shard as u64) << 48 | self.number
    }

    /// Key of no call: numbers begin at 0 and are not used up.
    pub(super) const NONE: Self = Self {
        slot: usize::MAX,
        number: u64::MAX,
    };
}

#[derive(Debug)]
pub(super) struct SessionSlot {
    number: u64,
    pub(super) call: CallId,
    pub(super) session: CallSession,
    pub(super) sources: Vec<(LegIndex, SocketAddr)>,
    /// Time of the session's last [`asterscribe_session::SessionOutput::Wait`].
    pub(super) due: Option<Instant>,
    /// Whether the session was given something since it was last polled.
    pub(super) touched: bool,
    pub(super) idle: Option<IdleReport>,
    pub(super) last_heard: Instant,
    pub(super) recorder: Option<SessionRecorder>,
}

/// Time after which a call without datagrams is reported as idle.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdleReport {
    limit: Duration,
    /// Time before which the call need not be looked at.
    look: Instant,
}

/// All calls of a shard.
#[derive(Debug, Default)]
pub(super) struct SlotTable {
    slots: Vec<Option<SessionSlot>>,
    /// Time at which each slot's call is to be looked at: its session is due, or it may be idle.
    wake: Vec<Option<Instant>>,
    free: Vec<usize>,
    by_call: HashMap<CallId, SessionKey>,
    next_number: u64,
}

impl SlotTable {
    pub(super) fn is_empty(&self) -> bool {
        self.by_call.is_empty()
    }

    /// Adds a call; `None` if the shard has it already.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        call: CallId,
        session: CallSession,
        idle_limit: Option<Duration>,
    ) -> Option<SessionKey> {
        if self.by_call.contains_key(&call) {
            return None;
        }
        let number = self.next_number;
        self.next_number += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.wake.push(None);
            self.slots.len() - 1
        });
        let key = SessionKey { slot, number };
        self.by_call.insert(call.clone(), key);
        self.slots[slot] = Some(SessionSlot {
            number,
            call,
            session,
            sources: Vec::new(),
            due: None,
            touched: false,
            idle: idle_limit.map(|limit| IdleReport {
                limit,
                look: now + limit,
            }),
            last_heard: now,
            recorder: None,
        });
        self.reschedule(key);
        Some(key)
    }

    pub(super) fn key(&self, call: &CallId) -> Option<SessionKey> {
        self.by_call.get(call).copied()
    }

    pub(super) fn get_mut(&mut self, key: SessionKey) -> Option<&mut SessionSlot> {
        let resident = self.slots.get_mut(key.slot)?.as_mut()?;
        (resident.number == key.number).then_some(resident)
    }

    /// Touches the memory that a datagram of that leg will change, so that the processor fetches
    /// it. Changes nothing.
    pub(super) fn glance(&self, key: LegKey) {
        if let Some(Some(resident)) = self.slots.get(key.session.slot) {
            let seen = resident.session.glance(key.leg);
            black_box((resident.number, resident.last_heard, resident.touched, seen));
        }
    }

    pub(super) fn remove(&mut self, key: SessionKey) -> Option<SessionSlot> {
        let slot = self.slots.get_mut(key.slot)?;
        let resident = slot.take_if(|resident| resident.number == key.number)?;
        self.wake[key.slot] = None;
        self.free.push(key.slot);
        self.by_call.remove(&resident.call);
        Some(resident)
    }

    /// Removes all calls. Numbers go on, for answers that are still to come.
    pub(super) fn clear(&mut self) -> Vec<(SessionKey, SessionSlot)> {
        self.by_call.clear();
        self.wake.clear();
        self.free.clear();
        let slots = std::mem::take(&mut self.slots).into_iter().enumerate();
        let keyed = slots.filter_map(|(slot, resident)| {
            let resident = resident?;
            let number = resident.number;
            Some((SessionKey { slot, number }, resident))
        });
        keyed.collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionKey, &SessionSlot)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(slot, resident)| {
            let resident = resident.as_ref()?;
            let number = resident.number;
            Some((SessionKey { slot, number }, resident))
        })
    }

    /// Updates the call's entry among the times; to be called when its times have changed.
    pub(super) fn reschedule(&mut self, key: SessionKey) {
        if let Some(resident) = self.get_mut(key) {
            let look = resident.idle.map(|idle| idle.look);
            self.wake[key.slot] = resident.due.into_iter().chain(look).min();
        }
    }

    /// Calls that are to be looked at.
    pub(super) fn awake(&self, now: Instant, calls: &mut Vec<SessionKey>) {
        for (slot, wake) in self.wake.iter().enumerate() {
            if wake.is_some_and(|wake| wake <= now)
                && let Some(resident) = &self.slots[slot]
            {
                let number = resident.number;
                calls.push(SessionKey { slot, number });
            }
        }
    }
}

impl SessionSlot {
    /// Source of a leg.
    pub(super) fn source(&self, leg: LegIndex) -> Option<SocketAddr> {
        let mut sources = self.sources.iter();
        let found = sources.find(|(owner, _)| *owner == leg);
        found.map(|(_, source)| *source)
    }

    /// Whether nothing has come for the call's idle limit; `true` once.
    pub(super) fn falls_idle(&mut self, now: Instant) -> bool {
        let Some(idle) = self.idle.as_mut().filter(|idle| idle.look <= now) else {
            return false;
        };
        if now.saturating_duration_since(self.last_heard) > idle.limit {
            self.idle = None;
            return true;
        }
        idle.look = self.last_heard + idle.limit;
        false
    }
}
