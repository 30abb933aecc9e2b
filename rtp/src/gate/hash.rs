//! Hashes the addresses of named sources, several times as fast as the standard
//! library's hasher. That one keeps whoever chooses the keys from making them
//! collide; here only ARI or an authenticated registration chooses them, and a
//! stranger's packets look addresses up but put none in.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Makes hashers with a seed of their own, so that no two gates behave alike.
#[derive(Debug, Clone)]
pub(super) struct SourceHash {
    seed: u64,
}

impl SourceHash {
    pub(super) fn new() -> Self {
        Self {
            seed: RandomState::new().hash_one(()),
        }
    }
}

impl BuildHasher for SourceHash {
    type Hasher = FoldingHasher;

    fn build_hasher(&self) -> FoldingHasher {
        FoldingHasher(self.seed)
    }
}

/// Folds the two halves of a product of 128 bits into each other: every bit of
/// the input reaches both ends of the hash, which is where the table looks.
#[derive(Debug)]
pub(super) struct FoldingHasher(u64);

/// Odd, with as many ones as zeros: 2⁶⁴ by the golden ratio.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

impl FoldingHasher {
    fn add(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(FACTOR);
        // The halves, as they are.
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for FoldingHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.add(u64::from_le_bytes(last));
        }
    }

    fn write_u16(&mut self, number: u16) {
        self.add(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.add(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.add(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.add(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn neighbouring_ports_and_hosts_are_spread_over_both_ends() {
        let hash = SourceHash::new();
        let (mut low, mut high, mut all) = (HashSet::new(), HashSet::new(), HashSet::new());
        for host in ["10.0.0.1", "10.0.0.2", "fe80::1", "fe80::2"] {
            for port in (10_000..12_048_u16).step_by(2) {
                let source = SocketAddr::new(host.parse().unwrap(), port);
                let hash = hash.hash_one(source);
                low.insert(hash & 0xFFF);
                high.insert(hash >> 57);
                all.insert(hash);
            }
        }
        assert_eq!(all.len(), 4_096);
        // 4,096 at random would leave 37 % of as many places free.
        assert!(low.len() > 2_400, "{}", low.len());
        assert_eq!(high.len(), 128);
    }
}
