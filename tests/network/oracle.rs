//! Expected result of a call, computed from the script and the network's log alone, in another way
//! than the code under test does it.

use std::time::Duration;

use asterscribe_call::{GapReason, GapTotals};

use crate::rig::{Arrival, BLEND, Heard, Sent, WAIT, noise};

/// Fate of a packet that was sent: in time, late or lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    InTime,
    Late,
    Lost,
}

/// The audio of one source through one network.
#[derive(Debug)]
pub(crate) struct Oracle {
    /// First and last place of audio that came in time, on the sender's clock.
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) gaps: GapTotals,
    pub(crate) late: u64,
    pub(crate) lost: u64,
    /// Audio that came in time, as places on the sender's clock.
    pub(crate) good: Vec<(u64, u64)>,
}

impl Oracle {
    /// Oracle for one source in one sequence; `sent` is in the order of its numbers.
    pub(crate) fn new(sent: &[Sent], arrivals: &[Arrival]) -> Self {
        let fates = fates(sent, arrivals);
        let first = arrivals
            .iter()
            .find_map(|arrival| arrival.index)
            .expect("something arrives");
        let last = fates
            .iter()
            .rposition(|fate| *fate == Fate::InTime)
            .expect("something is in time");
        let mut oracle = Self {
            begin: sent[first].begin,
            end: sent[last].end,
            gaps: GapTotals::default(),
            late: 0,
            lost: 0,
            good: Vec::new(),
        };
        let mut place = sent[first].begin;
        for (packet, fate) in sent.iter().zip(&fates).take(last + 1).skip(first) {
            let silence = packet.begin.saturating_sub(place);
            oracle.gaps.sender_silence += silence;
            place = place.max(packet.end);
            let length = packet.end - packet.begin;
            match (fate, packet.reason) {
                (Fate::InTime, None) => oracle.good.push((packet.begin, packet.end)),
                (Fate::InTime, Some(reason)) => *oracle.gaps.slot(reason) += length,
                (Fate::Late, _) => *oracle.gaps.slot(GapReason::Late) += length,
                (Fate::Lost, _) => *oracle.gaps.slot(GapReason::NetLoss) += length,
            }
            match fate {
                Fate::InTime => {}
                Fate::Late => {
                    oracle.late += 1;
                    oracle.lost += 1;
                }
                Fate::Lost => oracle.lost += 1,
            }
        }
        oracle
    }

    /// Every sample that came is at its place, every gap has its reason, and it adds up.
    #[track_caller]
    pub(crate) fn check(&self, heard: &Heard, what: &str) {
        let audio = &heard.audio;
        assert!(audio.is_conserved(), "{what}: {audio:?}");
        assert_eq!(audio.pending, 0, "{what}");
        assert_eq!(
            audio.span,
            self.end - self.begin,
            "{what}: {audio:?}\n{:?}",
            self.gaps
        );
        assert_eq!(audio.gaps, self.gaps, "{what}");
        assert_eq!(heard.stats.lost, self.lost, "{what}: {:?}", heard.stats);
        assert_eq!(heard.stats.late, self.late, "{what}: {:?}", heard.stats);
        self.check_samples(heard, what);
    }

    /// Checks the samples alone.
    #[track_caller]
    pub(crate) fn check_samples(&self, heard: &Heard, what: &str) {
        let mut place = self.begin;
        for &(begin, end) in &self.good {
            // Behind a gap the beginning is blended with what was made up for it.
            let blended = if begin > place { BLEND } else { 0 };
            for at in begin + blended..end {
                let is = heard.samples[(at - self.begin) as usize];
                assert_eq!(
                    is,
                    Some(noise(at)),
                    "{what}: sample {at} of {}..{}",
                    self.begin,
                    self.end
                );
            }
            place = end;
        }
    }
}

/// Fates of all packets. A packet's place is given up when one behind it has waited long enough.
fn fates(sent: &[Sent], arrivals: &[Arrival]) -> Vec<Fate> {
    let mut came: Vec<Option<Duration>> = vec![None; sent.len()];
    for arrival in arrivals {
        if let Some(index) = arrival.index {
            came[index].get_or_insert(arrival.at);
        }
    }
    let mut given_up: Option<Duration> = None;
    let mut fates = vec![Fate::Lost; sent.len()];
    for index in (0..sent.len()).rev() {
        let in_time = came[index].filter(|at| given_up.is_none_or(|limit| *at < limit));
        fates[index] = match (in_time, came[index]) {
            (Some(_), _) => Fate::InTime,
            (None, Some(_)) => Fate::Late,
            (None, None) => Fate::Lost,
        };
        if let Some(at) = in_time {
            let limit = at + WAIT;
            given_up = Some(given_up.map_or(limit, |before| before.min(limit)));
        }
    }
    fates
}
