//! Calls whose media somebody else makes, and registers leg by leg.

use super::book::{CallBook, Held, Phase};
use crate::call::{CallChoices, CallId, Origin};
use crate::service::ServiceError;

/// Legs that may be registered for one call.
const MAX_LEGS: usize = 16;

/// Whether the call is one that takes another registration; an error if it is one that takes none.
pub(super) fn is_registration(
    book: &CallBook,
    call: &CallId,
    chosen: &CallChoices,
) -> Result<bool, ServiceError> {
    let conflict = |text: &str| Err(ServiceError::Conflict(format!("call {call} {text}")));
    let (Some((phase, origin)), Some(entry)) = (book.phase(call), book.find(call)) else {
        return Ok(false);
    };
    match (phase, origin) {
        (Phase::Open, Origin::Media) if entry.record.legs.len() >= MAX_LEGS => {
            conflict("has all the legs it can have")
        }
        (Phase::Open, Origin::Media)
            if !chosen.is_empty() && *chosen != entry.record.recognition =>
        {
            conflict("was registered with another recognition, which holds for all of its legs")
        }
        (Phase::Open, Origin::Media) => Ok(true),
        (Phase::Open, _) => conflict("gets its media from Asterisk"),
        // It never got a leg, so it never was a call.
        (Phase::Ending | Phase::Over, _) if entry.held == Held::Admission => Ok(false),
        (Phase::Ending | Phase::Over, _) => conflict("is over"),
    }
}
