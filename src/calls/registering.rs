//! Registered calls: those whose media comes from elsewhere, and is registered leg by leg through
//! the API.

use asterscribe_call::{CallChoices, CallId, CallIdentity, CallOrigin, CallStatus, EndReason};
use asterscribe_clock as clock;
use asterscribe_store::StoreError;

use super::CallManager;
use super::registry::{CallOpening, CallPast, CallPhase, CallRegistry, StoredHistory, WriteHold};
use crate::media::LegRefused;
use crate::service::ServiceError;

/// Legs that may be registered for one call.
const MAX_LEGS: usize = 16;

/// Whether the call is one that takes another registration; an error if it is one that takes none.
pub(super) fn is_registration(
    registry: &CallRegistry,
    call: &CallId,
    chosen: &CallChoices,
) -> Result<bool, ServiceError> {
    let conflict = |text: &str| Err(ServiceError::Conflict(format!("call {call} {text}")));
    let (Some((phase, origin)), Some(entry)) = (registry.phase(call), registry.find(call)) else {
        return Ok(false);
    };
    match (phase, origin) {
        (CallPhase::Open, CallOrigin::Media) if entry.record.legs.len() >= MAX_LEGS => {
            conflict("has all the legs it can have")
        }
        (CallPhase::Open, CallOrigin::Media)
            if !chosen.is_empty() && *chosen != entry.record.recognition =>
        {
            conflict("was registered with another recognition, which holds for all of its legs")
        }
        (CallPhase::Open, CallOrigin::Media) => Ok(true),
        (CallPhase::Open, _) => conflict("gets its media from Asterisk"),
        // It never got a leg, so it never was a call.
        (CallPhase::Ending | CallPhase::Over, _) if entry.held == WriteHold::Admission => Ok(false),
        (CallPhase::Ending | CallPhase::Over, _) => conflict("is over"),
    }
}

/// How a registered call was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RegistrationOutcome {
    /// The store has no such call.
    New,
    /// The store could not be asked.
    Unknown,
    /// The call goes on where a server that was not ended properly left it.
    Resumed,
}

/// The store's answer, as far as a registration needs it.
enum StoredRegistration {
    Admission(RegistrationOutcome, CallPast),
    /// The call is a call that takes no registration, unless it is open here.
    Refused(Box<StoredHistory>),
}

impl CallManager {
    /// Opens a registered call if there is none; if it did, how.
    pub(super) async fn admit_media(
        &self,
        call: &CallId,
        chosen: &CallChoices,
    ) -> Result<Option<RegistrationOutcome>, ServiceError> {
        if self.registry(|registry| is_registration(registry, call, chosen))? {
            return Ok(None);
        }
        let (admission, past) = match self.before(self.stored.history(call).await) {
            StoredRegistration::Admission(admission, past) => (admission, past),
            StoredRegistration::Refused(history) => {
                // Unless its other leg has opened it while the store was asked.
                if self.registry(|registry| is_registration(registry, call, chosen))? {
                    return Ok(None);
                }
                let record = history.record.filter(|record| record.status.is_open());
                let over = || ServiceError::Conflict(format!("call {call} is over"));
                return Err(record.map_or_else(over, |record| self.elsewhere(&record)));
            }
        };
        // Unless somebody says so, it goes on as it was.
        let before = match &past {
            CallPast::Known(history) if chosen.is_empty() => history.record.as_ref(),
            _ => None,
        };
        let recognition =
            before.map_or_else(|| chosen.clone(), |record| record.recognition.clone());
        let opening = CallOpening {
            call: call.clone(),
            channel: call.to_string(),
            origin: CallOrigin::Media,
            thread: self.least_busy_thread(),
            caller_number: None,
            destination: None,
            channel_name: None,
            identity: CallIdentity::default(),
            undecided: None,
            is_called: false,
            recognition,
            past,
        };
        self.registry(|registry| {
            if is_registration(registry, call, chosen)? {
                return Ok(None);
            }
            self.check_capacity_in(registry)?;
            let opened = self.open_in(registry, opening, Some(self.config.media_idle));
            self.tell_places(registry);
            if opened {
                Ok(Some(admission))
            } else {
                Err(self.at_capacity())
            }
        })
    }

    /// A call that our predecessor had when it died goes on, settled or not. One that was ended
    /// is over.
    fn before(&self, asked: Result<Option<StoredHistory>, StoreError>) -> StoredRegistration {
        let history = match asked {
            Ok(Some(history)) => history,
            Ok(None) => {
                return StoredRegistration::Admission(
                    RegistrationOutcome::New,
                    CallPast::Unadmitted,
                );
            }
            Err(_) => {
                return StoredRegistration::Admission(
                    RegistrationOutcome::Unknown,
                    CallPast::Unadmitted,
                );
            }
        };
        let broke_off = history.record.as_ref().is_some_and(|record| {
            let is_ours = record.node == self.config.node;
            record.origin == CallOrigin::Media
                && (record.status == CallStatus::Failed || (record.status.is_open() && is_ours))
        });
        match broke_off {
            true => StoredRegistration::Admission(
                RegistrationOutcome::Resumed,
                CallPast::Known(Box::new(history)),
            ),
            false => StoredRegistration::Refused(Box::new(history)),
        }
    }

    /// A call that was opened for its first leg is one if it got one.
    pub(super) fn conclude_admission(
        &self,
        call: &CallId,
        admission: RegistrationOutcome,
        placed: &Result<usize, LegRefused>,
    ) {
        self.registry(|registry| match (placed, admission) {
            (Ok(_), admission) => registry.admit(call, admission == RegistrationOutcome::New),
            (Err(refused), RegistrationOutcome::Resumed) => {
                let text = refused.to_string();
                let reason = EndReason { cause: None, text };
                if let Some(media_run) =
                    registry.ended(call, clock::wall(), reason, CallStatus::Failed)
                {
                    self.hang_up_media(registry, &media_run);
                }
            }
            (Err(refused), _) => {
                if let Some(media_run) = registry.refuse(call, clock::wall(), refused.to_string()) {
                    self.hang_up_media(registry, &media_run);
                }
            }
        });
        if admission == RegistrationOutcome::Unknown {
            self.stored.unknown.notify_one();
        }
    }
}
