//! The list of calls: those that are here and those that the store has, newest first.

use asterscribe_call::{CallId, CallKey, CallRecord};
use tracing::debug;

use super::CallManager;
use super::registry::ListedCall;
use crate::service::{CallsRequest, CallsView};

impl CallManager {
    /// One page, at the cost of that page.
    pub(super) async fn list(&self, request: CallsRequest) -> CallsView {
        let CallsRequest { limit, before } = request;
        // What it was not given yet, and is no longer here, is missing.
        let mut is_partial = !self.stored.is_up();
        let mut calls: Vec<CallRecord> = Vec::new();
        let (mut behind, mut is_last) = (before, false);
        while calls.len() < limit && !is_last {
            let wanted = limit - calls.len();
            let here = self.registry(|registry| registry.newest(behind.as_ref(), wanted));
            let stored = self.stored.store.keys(behind.as_ref(), wanted).await;
            // A store that is away must not hide the calls that are here.
            let stored = stored.unwrap_or_else(|error| {
                debug!(%error, "listing only the calls of this process");
                is_partial = true;
                Vec::new()
            });
            let keys = CallKey::merge(here, stored, wanted);
            is_last = keys.len() < wanted;
            is_partial |= !self.fetch(&keys, &mut calls).await;
            behind = keys.into_iter().next_back().or(behind);
        }
        if let Some(control) = &self.captures {
            for record in &mut calls {
                record.capture = control
                    .captures
                    .state(&record.call_id)
                    .or_else(|| record.capture.take());
            }
        }
        let next = calls.last().filter(|_| !is_last).map(CallKey::of);
        CallsView {
            calls,
            is_partial,
            next: next.map(|key| key.to_string()),
        }
    }

    /// Adds the records of those calls, as far as there are any; `false`: the store did not say.
    async fn fetch(&self, keys: &[CallKey], calls: &mut Vec<CallRecord>) -> bool {
        let mut listed = self.registry(|registry| registry.records(keys));
        let is_missing = |(listed, key): (&ListedCall, &CallKey)| {
            matches!(listed, ListedCall::NotHere).then(|| key.call.clone())
        };
        let missing: Vec<CallId> = listed.iter().zip(keys).filter_map(is_missing).collect();
        let stored = match missing.is_empty() {
            true => Ok(Vec::new()),
            false => self.stored.store.records(&missing).await,
        };
        let is_whole = stored.is_ok();
        let mut stored = stored.unwrap_or_default().into_iter();
        for place in &mut listed {
            if *place == ListedCall::NotHere
                && let Some(record) = stored.next().flatten()
            {
                *place = ListedCall::Here(Box::new(record));
            }
        }
        calls.extend(listed.into_iter().filter_map(|listed| match listed {
            ListedCall::Here(record) => Some(*record),
            ListedCall::NotHere | ListedCall::Elsewhere => None,
        }));
        is_whole
    }
}
