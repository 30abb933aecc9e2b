//! Copies of a flow's packets in the same capture: before and behind a translation of addresses, or
//! on two interfaces of one machine.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use asterscribe_rtp::RtpPacket;

use super::SocketPair;
use super::candidate::RtpLikeness;

/// Packets that stand for all of a flow: those with the smallest hashes, which are the same
/// wherever the flow is seen.
const SAMPLE: usize = 64;

/// Share of the sample, one in so many, that another flow must have for the two to be the same. No
/// two packets are alike by chance, but one capture point may have missed what the other has.
const SHARE: usize = 4;

/// Sample of a flow's packets, as hashes.
#[derive(Debug, Default)]
pub(super) struct FlowSketch {
    /// The [`SAMPLE`] smallest hashes, sorted.
    smallest: Vec<u64>,
}

impl FlowSketch {
    pub(super) fn add(&mut self, packet: &RtpPacket<'_>) {
        let mut hasher = DefaultHasher::new();
        let head = (packet.ssrc.0, packet.seq.0, packet.time.0, packet.payload);
        head.hash(&mut hasher);
        let hash = hasher.finish();
        if self.smallest.len() >= SAMPLE && self.smallest.last().is_some_and(|last| *last < hash) {
            return;
        }
        if let Err(place) = self.smallest.binary_search(&hash) {
            self.smallest.insert(place, hash);
            self.smallest.truncate(SAMPLE);
        }
    }
}

/// Number of the earlier flow whose packets a flow copies, if there is one; for each flow.
pub(super) fn originals(flows: &[(SocketPair, Box<RtpLikeness>)]) -> Vec<Option<usize>> {
    let mut owners: HashMap<u64, usize> = HashMap::new();
    let mut originals = Vec::with_capacity(flows.len());
    for (n, (_, rtp)) in flows.iter().enumerate() {
        let hashes = rtp.sketch.iter().flat_map(|sketch| &sketch.smallest);
        let mut shared: HashMap<usize, usize> = HashMap::new();
        for owner in hashes.clone().filter_map(|hash| owners.get(hash)) {
            *shared.entry(*owner).or_default() += 1;
        }
        let of = |place: usize| flows[place].1.sketch.as_ref();
        let enough = |place: usize| {
            let least = of(n).map_or(0, |sketch| sketch.smallest.len());
            let other = of(place).map_or(0, |sketch| sketch.smallest.len());
            least.min(other).div_ceil(SHARE)
        };
        let original = shared
            .into_iter()
            .filter(|&(place, count)| count >= enough(place))
            .max_by_key(|&(place, count)| (count, std::cmp::Reverse(place)))
            .map(|(place, _)| place);
        if original.is_none() {
            owners.extend(hashes.map(|hash| (*hash, n)));
        }
        originals.push(original);
    }
    originals
}
