//! Calls that are listened in on.

use asterscribe_call::{CallRecord, ChannelRef, LegSides};

use super::CallManager;
use super::pending::AskedCommand;
use super::registry::CallPhase;
use crate::service::{ServiceError, TranscribeRequest};

impl CallManager {
    /// Taps a channel that is given by its id or its name.
    pub(super) async fn listen_in(
        &self,
        channel: &ChannelRef,
        request: TranscribeRequest,
    ) -> Result<CallRecord, ServiceError> {
        self.ari()?;
        self.check_choices(&request.recognition)?;
        check_legs(request.legs.as_ref())?;
        let tapped = match self.tap(channel.as_str(), request.clone()).await {
            Err(ServiceError::UnknownChannel(_)) if channel.may_be_name() => {
                let find = self.ari()?.find(channel.as_str());
                let id = self.command(channel.as_str(), find, None).await?;
                self.tap(&id, request).await
            }
            tapped => tapped,
        };
        let id = tapped?;
        let call = self.registry(|registry| registry.newest_on(&id));
        // It may be over by now.
        let call = call.ok_or(ServiceError::UnknownChannel(id))?;
        self.record(&call).await
    }

    /// Listens in on the channel of that id; its id again.
    async fn tap(&self, id: &str, request: TranscribeRequest) -> Result<String, ServiceError> {
        let ari = self.ari()?;
        let here = self.registry(|registry| {
            let call = registry.call_on(id)?;
            let (phase, _) = registry.phase(&call)?;
            (phase == CallPhase::Open).then_some(call)
        });
        if let Some(call) = here {
            return Err(ServiceError::Conflict(format!(
                "call {call} is being transcribed already"
            )));
        }
        self.check_capacity()?;
        let asked = AskedCommand::Transcribe(request);
        self.command(id, ari.tap(id), Some(asked)).await
    }
}

/// Two parties are two legs.
fn check_legs(legs: Option<&LegSides>) -> Result<(), ServiceError> {
    match legs {
        Some(LegSides { channel, peer }) if channel == peer => Err(ServiceError::Unprocessable(
            format!("legs: both parties cannot be {channel}"),
        )),
        _ => Ok(()),
    }
}
