//! A real Redis on a loopback port of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::debian::{self, Bundle, Unpacked};
use crate::ports::PortBlock;
use crate::process::{self, Process};
use crate::{Error, Result, host};

/// Where `redis-server` comes from.
#[derive(Debug, Clone)]
pub enum Program {
    /// Installed on this machine.
    Installed(PathBuf),
    /// Unpacked into the cache.
    Unpacked(UnpackedRedis),
}

/// Redis as unpacked by [`unpack`].
#[derive(Debug, Clone)]
pub struct UnpackedRedis(Unpacked);

/// A running Redis. Dropping it stops it.
#[derive(Debug)]
pub struct Instance {
    program: Program,
    persistent: bool,
    tls: Option<Tls>,
    process: Option<Process>,
    dir: TempDir,
    ports: PortBlock,
}

/// Certificate and key of a Redis that speaks TLS, PEM files.
#[derive(Debug, Clone)]
pub struct Tls {
    /// File of the certificate.
    pub certificate: PathBuf,
    /// File of the key.
    pub key: PathBuf,
}

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_GRACE: Duration = Duration::from_secs(10);
/// Time for an answer: a stopped Redis accepts connections and never answers.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const BINARY: &str = "usr/bin/redis-server";

/// `redis-server` from `PATH`, else unpacked into the cache.
///
/// # Errors
/// [`Error::Unavailable`] where there is neither.
pub fn find() -> Result<Program> {
    match host::find_program("redis-server") {
        Some(path) => Ok(Program::Installed(path)),
        None => unpack(),
    }
}

/// Unpacks this distribution's `redis-server` into the cache, whether or not one is installed.
pub fn unpack() -> Result<Program> {
    let bundle = Bundle {
        name: "redis",
        suite: None,
        package: "redis-server",
        short_list: &[],
        program: BINARY,
        plugins: ("", &[]),
    };
    debian::provide(&bundle).map(|unpacked| Program::Unpacked(UnpackedRedis(unpacked)))
}

impl Instance {
    /// Starts an empty Redis that forgets everything when it ends.
    pub fn start() -> Result<Self> {
        Self::start_with(find()?, false)
    }

    /// Starts an empty Redis; a persistent one keeps every acknowledged write
    /// over [`Instance::kill9`] and [`Instance::restart`].
    pub fn start_with(program: Program, persistent: bool) -> Result<Self> {
        Self::start_as(program, persistent, None)
    }

    /// Starts an empty Redis that speaks TLS, too, at [`Instance::tls_address`].
    pub fn start_tls(program: Program, tls: Tls) -> Result<Self> {
        Self::start_as(program, false, Some(tls))
    }

    fn start_as(program: Program, persistent: bool, tls: Option<Tls>) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("redis-")
            .tempdir()
            .map_err(Error::io("cannot create a folder for Redis"))?;
        let mut instance = Self {
            program,
            persistent,
            tls,
            process: None,
            dir,
            ports: PortBlock::claim()?,
        };
        instance.restart()?;
        Ok(instance)
    }

    /// Starts it again on the same port; stops it first if need be.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        let mut command = self.command();
        let (append, fsync) = if self.persistent {
            ("yes", "always")
        } else {
            ("no", "no")
        };
        command.args([
            "--bind",
            "127.0.0.1",
            "--port",
            &self.address().port().to_string(),
        ]);
        command.args([
            "--save",
            "",
            "--appendonly",
            append,
            "--appendfsync",
            fsync,
            "--daemonize",
            "no",
        ]);
        if let Some(Tls { certificate, key }) = &self.tls {
            let port = self.tls_address().port().to_string();
            command.args(["--tls-port", &port, "--tls-auth-clients", "no"]);
            command.arg("--tls-cert-file").arg(certificate);
            command.arg("--tls-key-file").arg(key);
        }
        command
            .arg("--dir")
            .arg(self.dir.path())
            .current_dir(self.dir.path());
        let mut process =
            Process::spawn("redis-server", command, &self.dir.path().join("redis.log"))?;
        let ready = || {
            let mut connection = self.connection().ok()?;
            redis::cmd("PING").query::<String>(&mut connection).ok()
        };
        process.await_ready("answer PING", START_LIMIT, ready)?;
        self.process = Some(process);
        Ok(())
    }

    /// Stops Redis: SIGTERM, a bounded wait, then SIGKILL. Nothing happens if it does not run.
    pub fn stop(&mut self) -> Result<()> {
        // A process that was stopped would not see the SIGTERM.
        self.sigcont()?;
        self.process.take().map_or(Ok(()), |mut process| {
            process.terminate(STOP_GRACE).map(drop)
        })
    }

    /// Kills Redis with SIGKILL, as a crash would.
    pub fn kill9(&mut self) -> Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |mut process| process.kill9().map(drop))
    }

    /// Stops Redis with SIGSTOP: it accepts connections and answers nothing, until
    /// [`Instance::sigcont`].
    pub fn sigstop(&mut self) -> Result<()> {
        self.process
            .as_mut()
            .map_or(Ok(()), |process| process.signal(Signal::STOP))
    }

    /// Continues Redis with SIGCONT.
    pub fn sigcont(&mut self) -> Result<()> {
        self.process
            .as_mut()
            .map_or(Ok(()), |process| process.signal(Signal::CONT))
    }

    /// A connection of its own, to look at keys with the `redis` crate's commands.
    pub fn connection(&self) -> Result<redis::Connection> {
        let failed = |error: redis::RedisError| {
            Error::Failed(format!(
                "cannot talk to Redis at {}: {error}",
                self.address()
            ))
        };
        let client = redis::Client::open(self.url()).map_err(failed)?;
        let connection = client
            .get_connection_with_timeout(ANSWER_LIMIT)
            .map_err(failed)?;
        connection
            .set_read_timeout(Some(ANSWER_LIMIT))
            .map_err(failed)?;
        Ok(connection)
    }

    /// Address at which Redis listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.tcp()).into()
    }

    /// Address at which Redis speaks TLS, if it does.
    pub fn tls_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.second_tcp()).into()
    }

    /// `redis://address:port/`.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address())
    }

    fn command(&self) -> Command {
        match &self.program {
            Program::Installed(path) => process::command(path),
            Program::Unpacked(UnpackedRedis(unpacked)) => unpacked.command(BINARY),
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            process::report(&format!("Redis did not stop: {error}"));
        }
    }
}
