//! How much audio may wait to be played, all calls together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that may be held at the same time.
#[derive(Debug, Clone)]
pub struct SoundBudget {
    left: Arc<AtomicUsize>,
}

impl SoundBudget {
    /// All of `bytes` are free.
    pub fn new(bytes: usize) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(bytes)),
        }
    }

    /// Takes `bytes` out of it for as long as the answer lives; `None` if that much is not left.
    pub fn reserve(&self, bytes: usize) -> Option<BytesReservation> {
        let taken = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            });
        taken.ok().map(|_| BytesReservation {
            left: Arc::clone(&self.left),
            bytes,
        })
    }

    /// Bytes that are free.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

/// Bytes that somebody holds; dropping it gives them back.
#[derive(Debug)]
pub struct BytesReservation {
    left: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for BytesReservation {
    fn drop(&mut self) {
        self.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_not_given_twice_and_comes_back() {
        let budget = SoundBudget::new(100);
        let first = budget.reserve(60).unwrap();
        assert!(budget.reserve(41).is_none());
        let second = budget.reserve(40).unwrap();
        assert_eq!(budget.left(), 0);
        drop(first);
        assert_eq!(budget.left(), 60);
        drop(second);
        assert_eq!(budget.left(), 100);
    }
}
