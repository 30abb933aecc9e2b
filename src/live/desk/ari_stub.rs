//! Temporary.
use super::Desk;
use crate::call::{CallId, Origin};
use crate::config::Settings;
use crate::service::*;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;
#[derive(Debug)]
pub struct AriLink;
#[derive(Debug)]
pub struct AriTask;
#[derive(Debug)]
pub(super) struct Command;
impl AriLink {
    pub fn prepare(_: &Settings, _: &[RtpTarget]) -> (Option<Self>, Option<AriTask>) {
        (None, None)
    }
    pub(super) fn health(&self) -> PartHealth {
        PartHealth {
            state: PartState::Off,
            detail: String::new(),
        }
    }
    pub(super) fn originate(&self, _: &CallId, _: String, _: &InitiateRequest) -> Command {
        Command
    }
    pub(super) fn tap(&self, _: &CallId) -> Command {
        Command
    }
    pub(super) fn hang_up(&self, _: &CallId) -> Command {
        Command
    }
}
impl AriTask {
    pub fn spawn(
        self,
        _: Arc<Desk>,
        _: Vec<(CallId, Origin)>,
        _: watch::Receiver<bool>,
    ) -> Result<JoinHandle<()>, String> {
        unreachable!()
    }
}
impl Desk {
    pub(super) async fn command(&self, _: &CallId, _: Command) -> Result<(), ServiceError> {
        Err(ServiceError::AsteriskUnavailable(String::new()))
    }
    pub async fn settle_later(&self) {}
}
