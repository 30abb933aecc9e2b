//! Packets lost by a seed: those that a real Asterisk sent, some left out of the server's own capture of them.

use asterscribe_testkit::chance::Chance;
use asterscribe_testkit::{Error, Result};

/// Block type of pcapng's "enhanced packet".
const PACKET: u32 = 6;

/// A pcapng file without `percent` in a hundred of its packets, each lost by itself.
pub(crate) fn thin(capture: &[u8], percent: u64, seed: u64) -> Result<Vec<u8>> {
    let mut chance = Chance(seed);
    let (mut kept, mut rest) = (Vec::with_capacity(capture.len()), capture);
    while !rest.is_empty() {
        let (block, after) =
            split(rest).ok_or_else(|| Error::Failed("the capture is cut off".to_owned()))?;
        if word(block) != Some(PACKET) || chance.next_u64() % 100 >= percent {
            kept.extend_from_slice(block);
        }
        rest = after;
    }
    Ok(kept)
}

/// The first block of a file in this machine's order, and what follows it.
fn split(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::try_from(word(rest.get(4..)?)?).ok()?;
    // Shorter than its own frame, a block would never end.
    (length >= 12).then(|| rest.split_at_checked(length))?
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|word| u32::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(kind: u32, body: u32) -> Vec<u8> {
        [kind, 16, body, 16].map(u32::to_le_bytes).concat()
    }

    #[test]
    fn packets_are_lost_by_the_seed_and_nothing_else_is() {
        let capture: Vec<u8> = (0..1000)
            .flat_map(|n| [block(1, n), block(PACKET, n)].concat())
            .collect();
        let thinned = thin(&capture, 3, 7).unwrap();
        let lost = (capture.len() - thinned.len()) / 16;
        assert!((15..=50).contains(&lost), "{lost} of 1000");
        assert_eq!(thin(&capture, 3, 7).unwrap(), thinned);
        assert_ne!(thin(&capture, 3, 8).unwrap(), thinned);
        assert_eq!(thin(&capture, 0, 7).unwrap(), capture);
        let none = thin(&capture, 100, 7).unwrap();
        assert_eq!(none.len(), capture.len() / 2);
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        for broken in [&block(6, 0)[..15], &[0; 12], &[6]] {
            assert!(thin(broken, 3, 1).is_err(), "{broken:?}");
        }
    }
}
