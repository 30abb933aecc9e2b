//! Legs of Asterisk's calls, and the media threads and ports that receive them.

use std::net::SocketAddr;

use asterscribe_ari::control::ControlCommand;

use super::CallManager;
use crate::media::PortReservation;

impl CallManager {
    /// Asterisk sends a leg's audio from `source`.
    pub(super) async fn media_source(
        &self,
        channel: &str,
        side: &str,
        source: SocketAddr,
        format: String,
        at: Option<PortReservation>,
    ) {
        let found = self.registry(|registry| {
            let call = registry.call_on(channel)?;
            let leg = registry.leg_of(&call, side);
            Some((call, leg))
        });
        let Some((id, leg)) = found else {
            tracing::error!(channel, side, %source, "media event of a call that is not open");
            return;
        };
        let placed = self.place_leg(&id, leg.clone(), source, Some(format), at);
        if let Err(refused) = placed.await {
            tracing::error!(call = %id, %leg, %source, %refused, "cannot receive the media of a leg");
            self.registry(|registry| registry.note(&id, format!("leg {leg}: {refused}")));
            self.misplaced(channel, side, source, refused.to_string())
                .await;
        }
    }

    /// A leg cannot be heard where Asterisk sends from: it gets other media, or its call fails.
    async fn misplaced(&self, channel: &str, side: &str, source: SocketAddr, text: String) {
        let Some(ari) = &self.asterisk.link else {
            return;
        };
        let (call, leg) = (channel.to_owned(), side.to_owned());
        let misplaced = ControlCommand::Misplaced {
            call,
            leg,
            source,
            text,
        };
        if !ari.answer(misplaced).await {
            tracing::error!(
                channel,
                "Asterisk's side is not told that a leg has no media"
            );
        }
    }
}
