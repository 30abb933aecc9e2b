//! One connection, made when it is first needed and again when it is lost.
//!
//! The library's own connection manager is not used: while it retries in the
//! background every caller waits with it, and a handshake that the server
//! refuses ("max number of clients reached") stays its answer for good.

use ::redis::aio::MultiplexedConnection;
use std::fmt;
use std::time::Duration;

use ::redis::io::tcp::TcpSettings;

use ::redis::{
    AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError, RedisResult,
};
use tokio::sync::Mutex;

use super::super::StoreError;
use super::error::{RedisStage, classify, ends_connection};

/// Time to connect, with the login; and for each answer.
const STEP: Duration = Duration::from_secs(1);
/// Time for a whole call: a lost connection, a new one, and the answer on it.
const CALL: Duration = Duration::from_millis(2500);
/// The system gives the connection up when sent bytes stay unacknowledged this
/// long: the peer's machine is gone. A stopped process still acknowledges.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

pub(super) struct RedisLink {
    client: Client,
    address: String,
    /// `AUTH` and `SELECT`. Sent by us, because the library reports every
    /// refusal of its own handshake as a wrong password.
    setup: Pipeline,
    slot: Mutex<LinkSlot>,
}

#[derive(Default)]
struct LinkSlot {
    connection: Option<MultiplexedConnection>,
    /// Number of the connection, so that only the one that failed is given up.
    generation: u64,
}

impl RedisLink {
    /// Reads the URL; connects to nothing.
    pub(super) fn new(url: &str) -> Result<Self, StoreError> {
        // The text of these errors is the library's own and holds no part of the URL.
        let refused =
            |e: RedisError| StoreError::Broken(format!("the Redis URL cannot be used: {e}"));
        let info = url.into_connection_info().map_err(refused)?;
        let wanted = info.redis_settings().clone();
        let mut setup = Pipeline::new();
        if let Some(password) = wanted.password() {
            let auth = setup.cmd("AUTH");
            if let Some(user) = wanted.username() {
                auth.arg(user);
            }
            auth.arg(password).ignore();
        }
        if wanted.db() != 0 {
            setup.cmd("SELECT").arg(wanted.db()).ignore();
        }
        let address = info.addr().to_string();
        let bare = RedisConnectionInfo::default().set_protocol(wanted.protocol());
        let client = Client::open(
            info.set_redis_settings(bare)
                .set_tcp_settings(tcp_settings()),
        )
        .map_err(refused)?;
        Ok(Self {
            client,
            address,
            setup,
            slot: Mutex::default(),
        })
    }

    /// Sends the commands in one round trip and reads their answers. A connection that is found
    /// dead, or that leads to a server which is not to be written to any more, is replaced once:
    /// what is sent here is safe to repeat.
    pub(super) async fn send<T: FromRedisValue>(
        &self,
        commands: &Pipeline,
    ) -> Result<T, StoreError> {
        let attempts = async {
            match self.attempt(commands).await {
                Err((RedisStage::Commands, error)) if lost(&error) || ends_connection(&error) => {
                    self.attempt(commands).await
                }
                result => result,
            }
        };
        let answered = tokio::time::timeout(CALL, attempts).await;
        let answered = answered.map_err(|_| {
            StoreError::Unavailable(format!(
                "Redis at {}: no answer within {CALL:?}",
                self.address
            ))
        })?;
        answered.map_err(|(stage, error)| classify(&self.address, stage, &error))
    }

    async fn attempt<T: FromRedisValue>(
        &self,
        commands: &Pipeline,
    ) -> Result<T, (RedisStage, RedisError)> {
        let connected = self.connection().await;
        let (generation, mut connection) = connected.map_err(|error| (RedisStage::Setup, error))?;
        let result = commands.query_async(&mut connection).await;
        if result.as_ref().is_err_and(unusable) {
            let mut slot = self.slot.lock().await;
            if slot.generation == generation {
                slot.connection = None;
            }
        }
        result.map_err(|error| (RedisStage::Commands, error))
    }

    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        let mut slot = self.slot.lock().await;
        if let Some(connection) = &slot.connection {
            return Ok((slot.generation, connection.clone()));
        }
        let limits = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(STEP))
            .set_response_timeout(Some(STEP));
        let mut connection = self
            .client
            .get_multiplexed_async_connection_with_config(&limits)
            .await?;
        if !self.setup.is_empty() {
            self.setup.exec_async(&mut connection).await?;
        }
        slot.generation += 1;
        slot.connection = Some(connection.clone());
        Ok((slot.generation, connection))
    }
}

/// Shows the address, never the credentials.
impl fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The connection is gone; the server may be there all the same.
fn lost(error: &RedisError) -> bool {
    error.is_io_error() && !error.is_timeout()
}

/// Whether the connection must not be used again. After a mere time-out it is
/// kept: what was sent on it will still be executed, and a second connection
/// could overtake it with newer writes.
fn unusable(error: &RedisError) -> bool {
    lost(error) || error.kind() == ErrorKind::Parse || ends_connection(error)
}

fn tcp_settings() -> TcpSettings {
    // Small writes that wait for answers: Nagle's algorithm would only delay them.
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(UNACKNOWLEDGED);
    settings
}
