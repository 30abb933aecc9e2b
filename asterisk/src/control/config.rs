//! Settings of the choreography.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::naming::ObjectNaming;

/// Settings of a [`CallControl`](super::CallControl).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlConfig {
    /// Name of the Stasis application, with which the ids of all objects made in Asterisk begin:
    /// [`ObjectNaming`].
    pub app: String,
    /// Ten hexadecimal digits, unique per start of the process and part of every id we choose, so
    /// that none collides with what a predecessor left behind.
    pub nonce: String,
    /// RTP addresses as Asterisk reaches them; calls are spread over them in turn.
    pub targets: Vec<SocketAddr>,
    /// Whether each leg gets an RTP address to itself, asked for with
    /// [`ControlNotice::PortsWanted`](super::ControlNotice::PortsWanted), rather than that of its
    /// call's target.
    pub own_ports: bool,
    /// Format asked of Asterisk, by its name: `ulaw`, `alaw`, `slin16`.
    pub format: String,
    /// Calls open at once; a Stasis caller beyond them goes on in the dialplan.
    pub max_calls: usize,
    /// How long a reply may take.
    pub request_timeout: Duration,
    /// How long a leg's set-up may take altogether.
    pub setup_timeout: Duration,
    /// How long an originated call may ring.
    pub ring_timeout: Duration,
    /// How long to wait for a better cause after the first sign of a hang-up.
    pub cause_grace: Duration,
    /// Listing again after something went unanswered, to find what it left behind.
    pub audit_delay: Duration,
    /// Interval between listings when nothing went wrong; events alone are never trusted for ever.
    pub audit_interval: Duration,
    /// Variables that every call's channel is asked for before its media is set up; what it has of
    /// them is told by [`ControlNotice::CallVariables`](super::ControlNotice::CallVariables).
    pub variables: Vec<String>,
    /// Calls that an earlier process left open.
    pub recover: Vec<RecoverCall>,
}

impl ControlConfig {
    /// Settings with the defaults: application `asterscribe`, `ulaw`, 100 calls, 5 s for a
    /// reply, 10 s for a set-up, 60 s of ringing.
    pub fn new(nonce: impl Into<String>, targets: Vec<SocketAddr>) -> Self {
        Self {
            app: "asterscribe".to_owned(),
            nonce: nonce.into(),
            targets,
            own_ports: false,
            format: "ulaw".to_owned(),
            max_calls: 100,
            request_timeout: Duration::from_secs(5),
            setup_timeout: Duration::from_secs(10),
            ring_timeout: Duration::from_secs(60),
            cause_grace: Duration::from_millis(250),
            audit_delay: Duration::from_secs(15),
            audit_interval: Duration::from_secs(60),
            variables: Vec::new(),
            recover: Vec::new(),
        }
    }

    /// Rule by which this process's ids in Asterisk are made and recognised.
    pub fn naming(&self) -> ObjectNaming {
        ObjectNaming::new(self.app.as_str(), self.nonce.as_str())
    }

    /// # Errors
    /// [`ConfigError`] names the first setting that cannot work.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let is_word = |text: &str| {
            (1..=40).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if !is_word(&self.app) {
            return Err(ConfigError::App(self.app.clone()));
        }
        if !ObjectNaming::is_nonce(&self.nonce) {
            return Err(ConfigError::Nonce(self.nonce.clone()));
        }
        if self.targets.is_empty() {
            return Err(ConfigError::NoTarget);
        }
        if let Some(bad) = self
            .targets
            .iter()
            .find(|t| t.ip().is_unspecified() || t.port() == 0)
        {
            return Err(ConfigError::Target(*bad));
        }
        if !is_word(&self.format) {
            return Err(ConfigError::Format(self.format.clone()));
        }
        Ok(())
    }
}

/// Error: a setting cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// ARI takes `a,b` for two applications, so the name is kept to plain characters.
    #[error("application name {0:?} must be 1 to 40 characters out of A-Z a-z 0-9 _ -")]
    App(String),
    /// The nonce is part of ids, so its form is fixed.
    #[error("nonce {0:?} must be 10 characters out of 0-9 a-f")]
    Nonce(String),
    /// No RTP address is configured.
    #[error("no RTP address to give to Asterisk")]
    NoTarget,
    /// `0.0.0.0` or port 0 is a place to listen at, not one to send to.
    #[error("{0} is no address that Asterisk could send RTP to")]
    Target(SocketAddr),
    /// Asterisk takes exactly one name.
    #[error("{0:?} is not one of Asterisk's format names")]
    Format(String),
}

/// Origin of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    /// A channel entered the application.
    Stasis,
    /// This server placed the call.
    Initiated,
    /// A tap: a channel that belongs to somebody else is spied on.
    Tap,
}

/// A call that an earlier process left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoverCall {
    /// Id of the call in the call manager.
    pub call: String,
    /// Id of its channel, which names the call in every notice once it is open again.
    pub channel: String,
    /// Time of the channel's creation, where it is known.
    pub created_at: Option<Timestamp>,
    /// Origin of the call.
    pub kind: CallKind,
}
