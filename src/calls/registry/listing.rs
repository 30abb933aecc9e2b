//! Which calls are here, newest first. What a page costs does not depend on how many there are.

use std::collections::HashMap;
use std::ops::Bound;

use asterscribe_call::{CallId, CallKey, CallRecord};

use super::{CallRegistry, RegisteredCall};

impl CallRegistry {
    /// Keys of up to `limit` calls that are here, newest first, those behind `before`.
    pub(crate) fn newest(&self, before: Option<&CallKey>, limit: usize) -> Vec<CallKey> {
        let behind = match before {
            Some(before) => Bound::Excluded(before),
            None => Bound::Unbounded,
        };
        let range = self.order.range::<CallKey, _>((Bound::Unbounded, behind));
        range.rev().take(limit).cloned().collect()
    }

    /// The records of those that are here, under just these keys.
    pub(crate) fn records(&self, keys: &[CallKey]) -> Vec<ListedCall> {
        let mut ended: HashMap<&CallId, &RegisteredCall> = HashMap::new();
        if keys.iter().any(|key| !self.open.contains_key(&key.call)) {
            let recent = self.recent.iter();
            ended.extend(recent.map(|entry| (&entry.record.call_id, entry)));
        }
        let listed = keys.iter().map(|key| {
            let here = self.open.get(&key.call);
            match here.or_else(|| ended.get(&key.call).copied()) {
                None => ListedCall::NotHere,
                Some(entry) if CallKey::of(&entry.record) == *key => {
                    ListedCall::Here(Box::new(entry.record.clone()))
                }
                Some(_) => ListedCall::Elsewhere,
            }
        });
        listed.collect()
    }
}

/// The registry's entry for a key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ListedCall {
    /// The call.
    Here(Box<CallRecord>),
    /// The registry does not have the call.
    NotHere,
    /// The call, which has another place in the list by now.
    Elsewhere,
}
