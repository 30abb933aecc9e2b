//! Calls whose media somebody else makes, and registers leg by leg.

use super::Desk;
use super::book::{CallBook, Held, History, Opening, Past, Phase};
use crate::call::{CallChoices, CallId, CallStatus, EndReason, Identity, Origin};
use crate::clock;
use crate::live::media::LegRefused;
use crate::service::ServiceError;
use crate::store::StoreError;

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

/// How a registered call was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// The store has nothing of it.
    New,
    /// The store could not be asked.
    Unknown,
    /// It goes on where a server that was not ended properly left it.
    Resumed,
}

/// What the store's answer means for a registration.
enum Before {
    Admission(Admission, Past),
    /// It is a call that takes no registration, unless it is open here.
    Refused(Box<History>),
}

impl Desk {
    /// Opens a registered call if there is none; if it did, how.
    pub(super) async fn admit_media(
        &self,
        call: &CallId,
        chosen: &CallChoices,
    ) -> Result<Option<Admission>, ServiceError> {
        if self.book(|book| is_registration(book, call, chosen))? {
            return Ok(None);
        }
        let (admission, past) = match self.before(self.history(call).await) {
            Before::Admission(admission, past) => (admission, past),
            Before::Refused(history) => {
                // Unless its other leg has opened it while the store was asked.
                if self.book(|book| is_registration(book, call, chosen))? {
                    return Ok(None);
                }
                let record = history.record.filter(|record| record.status.is_open());
                let over = || ServiceError::Conflict(format!("call {call} is over"));
                return Err(record.map_or_else(over, |record| self.elsewhere(&record)));
            }
        };
        // Unless somebody says so, it goes on as it was.
        let before = match &past {
            Past::Known(history) if chosen.is_empty() => history.record.as_ref(),
            _ => None,
        };
        let recognition =
            before.map_or_else(|| chosen.clone(), |record| record.recognition.clone());
        let opening = Opening {
            call: call.clone(),
            channel: call.to_string(),
            origin: Origin::Media,
            port: self.least_busy_port(),
            caller_number: None,
            destination: None,
            channel_name: None,
            identity: Identity::default(),
            undecided: None,
            is_called: false,
            recognition,
            past,
        };
        self.book(|book| {
            if is_registration(book, call, chosen)? {
                return Ok(None);
            }
            self.check_capacity_in(book)?;
            let opened = self.open_in(book, opening, Some(self.config.media_idle));
            self.tell_places(book);
            if opened {
                Ok(Some(admission))
            } else {
                Err(self.at_capacity())
            }
        })
    }

    /// A call that our predecessor had when it died goes on, settled or not. One that was ended
    /// is over.
    fn before(&self, asked: Result<Option<History>, StoreError>) -> Before {
        let history = match asked {
            Ok(Some(history)) => history,
            Ok(None) => return Before::Admission(Admission::New, Past::Unadmitted),
            Err(_) => return Before::Admission(Admission::Unknown, Past::Unadmitted),
        };
        let broke_off = history.record.as_ref().is_some_and(|record| {
            let is_ours = record.node == self.config.node;
            record.origin == Origin::Media
                && (record.status == CallStatus::Failed || (record.status.is_open() && is_ours))
        });
        match broke_off {
            true => Before::Admission(Admission::Resumed, Past::Known(Box::new(history))),
            false => Before::Refused(Box::new(history)),
        }
    }

    /// A call that was opened for its first leg is one if it got one.
    pub(super) fn conclude_admission(
        &self,
        call: &CallId,
        admission: Admission,
        placed: &Result<usize, LegRefused>,
    ) {
        self.book(|book| match (placed, admission) {
            (Ok(_), admission) => book.admit(call, admission == Admission::New),
            (Err(refused), Admission::Resumed) => {
                let text = refused.to_string();
                let reason = EndReason { cause: None, text };
                if let Some(stint) = book.ended(call, clock::wall(), reason, CallStatus::Failed) {
                    self.hang_up_media(book, &stint);
                }
            }
            (Err(refused), _) => {
                if let Some(stint) = book.refuse(call, clock::wall(), refused.to_string()) {
                    self.hang_up_media(book, &stint);
                }
            }
        });
        if admission == Admission::Unknown {
            self.unknown.notify_one();
        }
    }
}
