//! Sources without a name, and drops in the kernel: only the shard sees them, and the calls'
//! doctors need them. Looked at once a second.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{LegIndex, LegKey, SessionInput, SessionKey, SessionShard};

const EVERY: Duration = Duration::from_secs(1);

/// A leg whose named source has sent nothing.
struct SilentSource {
    call: SessionKey,
    leg: LegIndex,
    named: SocketAddr,
}

impl SessionShard {
    /// Passes the observations on to the calls, if it is time to.
    pub(super) fn observe(&mut self, now: Instant) {
        if self.next_look.is_some_and(|due| now < due) {
            return;
        }
        self.next_look = Some(now + EVERY);
        self.tell_of_drops(now);
        self.tell_of_own_drops(now);
        self.tell_of_strangers(now);
    }

    /// Tells all calls of drops at the shared socket, since whose datagrams they were is not known.
    fn tell_of_drops(&mut self, now: Instant) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped == 0 {
            return;
        }
        let calls: Vec<_> = self.residents.iter().map(|(key, _)| key).collect();
        for call in calls {
            self.feed(now, call, SessionInput::KernelDrops(dropped));
        }
    }

    /// Tells each leg of the drops at its own socket.
    fn tell_of_own_drops(&mut self, now: Instant) {
        for (LegKey { session, leg }, count) in std::mem::take(&mut self.own_dropped) {
            self.feed(now, session, SessionInput::OwnKernelDrops { leg, count });
        }
    }

    /// Tells legs that receive nothing who sends RTP without having been named: by preference a
    /// source of the same host, or of the same port.
    fn tell_of_strangers(&mut self, now: Instant) {
        let strangers: Vec<_> = self.gate.strangers().collect();
        if strangers.is_empty() {
            return;
        }
        let unheard = self.unheard();
        // Somebody who has nothing in common with a source is likely meant only
        // where there is no other leg that he could be meant for.
        let is_only_one = unheard.len() == 1;
        for SilentSource { call, leg, named } in unheard {
            let nearness =
                |from: &SocketAddr| (from.ip() == named.ip(), from.port() == named.port());
            let nearest = strangers
                .iter()
                .filter(|(from, _)| is_only_one || nearness(from) != (false, false))
                .max_by_key(|(from, packets)| (nearness(from), *packets));
            if let Some(&(from, packets)) = nearest {
                let packets = packets as u64;
                let input = SessionInput::Elsewhere {
                    leg,
                    from,
                    named,
                    packets,
                };
                self.feed(now, call, input);
            }
        }
    }

    fn unheard(&self) -> Vec<SilentSource> {
        let mut unheard = Vec::new();
        for (call, resident) in self.residents.iter() {
            for &(leg, named) in &resident.sources {
                if resident.session.is_unheard(leg) {
                    unheard.push(SilentSource { call, leg, named });
                }
            }
        }
        unheard
    }
}
