//! Notices of Asterisk that change no record: they go into the log.

use std::sync::Mutex;

use asterscribe_ari::client::ConnectionState;
use asterscribe_ari::control::ControlNotice;
use tokio::sync::watch;

use super::{CallManager, lock};

/// Connection state at the last `Synced` notice. The driver sends that every minute; the log gets
/// one line for each connection.
#[derive(Debug)]
pub(super) struct SyncStep(Mutex<watch::Receiver<ConnectionState>>);

impl SyncStep {
    pub(super) fn new(connection: watch::Receiver<ConnectionState>) -> Self {
        Self(Mutex::new(connection))
    }

    /// Whether the connection has changed since this was last asked.
    fn is_new(&self) -> bool {
        let mut connection = lock(&self.0);
        // Nobody to say so any more: the server stops.
        let is_new = connection.has_changed().unwrap_or(false);
        connection.mark_unchanged();
        is_new
    }
}

impl CallManager {
    /// Logs a notice that changes no record.
    pub(super) fn remark(&self, notice: &ControlNotice) {
        match notice {
            ControlNotice::CallTurnedAway { channel, text } => tracing::warn!(
                channel = channel.id,
                text,
                "a caller goes on in the dialplan without being transcribed"
            ),
            ControlNotice::Reaped { kind, id } => tracing::info!(
                ?kind,
                id,
                "removed what an earlier process left in Asterisk"
            ),
            ControlNotice::Synced
                if self
                    .asterisk
                    .link
                    .as_ref()
                    .is_some_and(|ari| ari.step.is_new()) =>
            {
                tracing::info!("synchronised with Asterisk");
            }
            ControlNotice::Synced => tracing::debug!("still synchronised with Asterisk"),
            ControlNotice::Replaced => {
                tracing::error!(
                    "another program has taken over the Stasis application of this server"
                );
            }
            other => tracing::trace!(?other, "nothing to keep of it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn being_in_step_is_news_once_for_each_connection() {
        let (state, seen) = watch::channel(ConnectionState::Connecting);
        let step = SyncStep::new(seen);
        state.send_replace(ConnectionState::Connected);
        let looks: Vec<_> = (0..3).map(|_| step.is_new()).collect();
        assert_eq!(looks, [true, false, false]);
        state.send_replace(ConnectionState::Failed("it broke".to_owned()));
        state.send_replace(ConnectionState::Connected);
        assert!(step.is_new() && !step.is_new());
        drop(state);
        assert!(!step.is_new());
    }
}
