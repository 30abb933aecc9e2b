//! How Asterisk is, as far as the connection to it tells, and what may be asked of the connection.

use asterscribe_ari::client::ConnectionState;

use super::ari::AriLink;
use super::health::part;
use super::{CallManager, lock};
use crate::service::{PartHealth, PartState, ServiceError};

/// Reason why a server that another one has replaced does nothing in Asterisk.
const REPLACED: &str = "replaced: another server has taken the Stasis application over; \
                        it comes back when that one is gone, or by POST /api/asterisk/take-back";

impl AriLink {
    pub(super) fn health(&self) -> PartHealth {
        let url = &self.url;
        match &*self.state.borrow() {
            ConnectionState::Connected => match &*lock(&self.trouble) {
                Some(trouble) => part(PartState::Degraded, format!("{url}: {trouble}")),
                None => part(PartState::Ok, url.clone()),
            },
            ConnectionState::Connecting => part(PartState::Down, format!("connecting to {url}")),
            ConnectionState::Failed(reason) => part(PartState::Down, format!("{url}: {reason}")),
            ConnectionState::Replaced => part(PartState::Down, format!("{url}: {REPLACED}")),
        }
    }

    /// Reason why no command can be given now, if there is one.
    pub(super) fn unavailable(&self) -> Option<String> {
        match &*self.state.borrow() {
            ConnectionState::Failed(reason) => Some(reason.clone()),
            ConnectionState::Replaced => Some(REPLACED.to_owned()),
            ConnectionState::Connecting | ConnectionState::Connected => None,
        }
    }
}

impl CallManager {
    /// Enters a fault that Asterisk's side reports, or its end; calls go on.
    pub(super) fn asterisk_trouble(&self, trouble: Option<String>) {
        if let Some(ari) = &self.asterisk.link {
            *lock(&ari.trouble) = trouble;
        }
    }

    /// Takes the Stasis application back from the server that took it over.
    pub(super) fn take_asterisk_back(&self) -> Result<PartHealth, ServiceError> {
        let none = || ServiceError::AsteriskUnavailable("not configured".to_owned());
        let ari = self.asterisk.link.as_ref().ok_or_else(none)?;
        if *ari.state.borrow() != ConnectionState::Replaced {
            let text = "no other server has taken the Stasis application over".to_owned();
            return Err(ServiceError::Conflict(text));
        }
        ari.take_back.notify_one();
        Ok(ari.health())
    }
}
