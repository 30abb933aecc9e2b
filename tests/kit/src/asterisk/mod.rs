//! A real Asterisk: installed into the cache, started on loopback ports of its
//! own, watched through ARI, stopped with its owner.

mod ari;
mod config;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

pub use ari::Events;
pub use config::Options;

use crate::debian::{self, Bundle, Unpacked};
use crate::http::{self, Client};
use crate::ports::PortBlock;
use crate::process::{self, Process};
use crate::{Error, Response, Result, host};

/// Release of Asterisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Release {
    /// Asterisk 22, from Debian sid.
    V22,
    /// Asterisk 16.28, from Debian 11: the old one whose `slin` is PCMU on the wire.
    V16,
}

/// An installed Asterisk, shared by any number of instances.
#[derive(Debug, Clone)]
pub struct Root {
    release: Release,
    unpacked: Unpacked,
}

/// A running Asterisk. Dropping it stops it.
#[derive(Debug)]
pub struct Instance {
    root: Root,
    process: Option<Process>,
    dir: TempDir,
    ports: PortBlock,
    user: String,
    password: String,
    client: Client,
}

/// Asterisk is ready within a second; a loaded machine takes several.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Time for Asterisk to stop; SIGTERM takes about 2.5 s.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// Installs Asterisk into the cache, or finds it there (then in milliseconds).
/// The first time takes 5 to 40 s and the network.
///
/// # Errors
/// [`Error::Unavailable`] where this machine has no Debian archive to take it from.
pub fn install(release: Release) -> Result<Root> {
    let bundle = match release {
        Release::V22 => Bundle {
            name: "asterisk-22",
            suite: Some("sid"),
            package: "asterisk",
            short_list: &SHORT_LIST_22,
            program: PROGRAM,
            plugins: (MODULE_FOLDER, &config::MODULES),
        },
        // Its libraries are spread over too many packages for a short list to pay.
        Release::V16 => Bundle {
            name: "asterisk-16",
            suite: Some("bullseye"),
            package: "asterisk",
            short_list: &[],
            program: PROGRAM,
            plugins: (MODULE_FOLDER, &config::MODULES),
        },
    };
    debian::provide(&bundle).map(|unpacked| Root { release, unpacked })
}

const PROGRAM: &str = "usr/sbin/asterisk";
const MODULE_FOLDER: &str = "asterisk/modules";

/// Packages that Asterisk 22 and the modules in use really link: a fifth of the closure.
const SHORT_LIST_22: [&str; 23] = [
    "asterisk",
    "asterisk-modules",
    "libbsd0",
    "libc6",
    "libcap2",
    "libcrypt1",
    "libedit2",
    "libgcc-s1",
    "libgsm1",
    "libjansson4",
    "libmd0",
    "libopus0",
    "libsqlite3-0",
    "libssl3t64",
    "libstdc++6",
    "libsystemd0",
    "libtinfo6",
    "liburiparser1",
    "libuuid1",
    "libxml2-16",
    "libxslt1.1",
    "libzstd1",
    "zlib1g",
];

impl Root {
    /// Release of the installation.
    pub fn release(&self) -> Release {
        self.release
    }

    /// Version that the program states, such as `22.10.1`.
    pub fn version(&self) -> Result<String> {
        let mut command = self.unpacked.command(PROGRAM);
        command.arg("-V");
        let text = process::run("asterisk -V", command, Duration::from_secs(30))?;
        let version = text.split_whitespace().nth(1).unwrap_or_default();
        Ok(version
            .split(['+', '~'])
            .next()
            .unwrap_or_default()
            .to_owned())
    }
}

impl Instance {
    /// Starts Asterisk and waits until ARI answers and external media can be made.
    pub fn start(root: &Root, options: &Options) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("asterisk-").tempdir();
        let mut instance = Self {
            root: root.clone(),
            process: None,
            dir: dir.map_err(Error::io("cannot create a folder for Asterisk"))?,
            ports: PortBlock::claim()?,
            user: "kit".to_owned(),
            password: host::random_name(),
            client: Client::new(),
        };
        config::write(&instance, options)?;
        instance.restart()?;
        Ok(instance)
    }

    /// Starts Asterisk again on the same ports with the same configuration; stops it first if need
    /// be.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        let mut command = self.root.unpacked.command(PROGRAM);
        command
            .arg("-C")
            .arg(self.config_file())
            .args(["-f", "-n", "-q"])
            .current_dir(self.dir.path());
        let mut process = Process::spawn("asterisk", command, &self.log_file())?;
        process.await_ready("answer ARI with all modules", START_LIMIT, || {
            self.is_ready().then_some(())
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Whether external media can be made. The HTTP port opens long before ARI answers on it, and
    /// without chan_rtp ARI answers but every externalMedia fails.
    fn is_ready(&self) -> bool {
        let ok = |path: &str| {
            self.ari("GET", path, &[], None)
                .is_ok_and(|(status, _)| status == 200)
        };
        let running =
            |(status, module): (u16, Value)| status == 200 && module["status"] == "Running";
        ok("/asterisk/ping")
            && self
                .ari("GET", "/asterisk/modules/chan_rtp.so", &[], None)
                .is_ok_and(running)
    }

    /// Stops Asterisk: SIGTERM, a bounded wait, then SIGKILL. Nothing happens if it does not run.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| {
            process.terminate(STOP_GRACE).map(drop)
        })
    }

    /// Kills Asterisk with SIGKILL, as a crash or a power cut would.
    pub fn kill9(&mut self) -> Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |mut process| process.kill9().map(drop))
    }

    /// Sends a request to ARI; `path` begins behind `/ari`. The body of the
    /// answer is `Null` if it is empty or no JSON. Any status is an answer.
    pub fn ari(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(u16, Value)> {
        let credentials = [("api_key", format!("{}:{}", self.user, self.password))];
        let credentials = credentials
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let pairs = query.iter().copied().chain(credentials);
        let query: Vec<_> = pairs
            .map(|(name, value)| format!("{name}={}", http::escape(value)))
            .collect();
        let url = format!("{}/ari{path}?{}", self.base_url(), query.join("&"));
        let body = body.map(Value::to_string);
        let headers = [("Content-Type", "application/json")];
        let Response { status, text, .. } = self.client.send(
            method,
            &url,
            &headers[..usize::from(body.is_some())],
            body.as_deref().map(str::as_bytes),
        )?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Like [`Instance::ari`], but a status other than 2xx is an error.
    pub fn ari_ok(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value> {
        match self.ari(method, path, query, body)? {
            (200..=299, answer) => Ok(answer),
            (status, answer) => Err(Error::Failed(format!(
                "{method} {path} gave {status}: {answer}{}",
                process::log_tail(&self.log_file())
            ))),
        }
    }

    /// Subscribes to the events of `app` (or several, by comma).
    pub fn events(&self, app: &str) -> Result<Events> {
        Events::connect(self.http(), app, &self.user, &self.password)
    }

    /// Runs a CLI command, e.g. `core show channels`.
    pub fn cli(&self, line: &str) -> Result<String> {
        let mut command = self.root.unpacked.command(PROGRAM);
        command
            .arg("-C")
            .arg(self.config_file())
            .arg("-rx")
            .arg(line);
        process::run(
            &format!("the CLI command {line:?}"),
            command,
            Duration::from_secs(20),
        )
    }

    /// Ids of all channels, in ARI's order.
    pub fn channels(&self) -> Result<Vec<String>> {
        self.ids("/channels")
    }

    /// Ids of all bridges, in ARI's order.
    pub fn bridges(&self) -> Result<Vec<String>> {
        self.ids("/bridges")
    }

    fn ids(&self, path: &str) -> Result<Vec<String>> {
        let list = self.ari_ok("GET", path, &[], None)?;
        let id = |item: &Value| item["id"].as_str().unwrap_or_default().to_owned();
        Ok(list
            .as_array()
            .map(|items| items.iter().map(id).collect())
            .unwrap_or_default())
    }

    /// Address at which ARI is served.
    pub fn http(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.tcp()).into()
    }

    /// Base URL of ARI, `http://address:port`, without a path.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.http())
    }

    /// Name of the ARI user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Password of the ARI user, drawn for this instance.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// UDP ports from which Asterisk's media comes.
    pub fn rtp_ports(&self) -> RangeInclusive<u16> {
        self.ports.media()
    }

    /// Process id while Asterisk runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Log of Asterisk (notices, warnings, errors, verbose), kept over restarts.
    pub fn log_file(&self) -> PathBuf {
        self.dir.path().join("log").join("full.log")
    }

    fn config_file(&self) -> PathBuf {
        self.dir.path().join("etc").join("asterisk.conf")
    }

    fn module_dir(&self) -> PathBuf {
        self.root.unpacked.library_folder(MODULE_FOLDER)
    }

    fn data_dir(&self) -> PathBuf {
        self.root.unpacked.root.join("usr/share/asterisk")
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kept = std::env::temp_dir().join(format!("asterisk-{}.log", self.ports.tcp()));
            if fs::copy(self.log_file(), &kept).is_ok() {
                process::report(&format!(
                    "Asterisk's log is kept in {}{}",
                    kept.display(),
                    process::log_tail(&kept)
                ));
            }
        }
        if let Err(error) = self.stop() {
            process::report(&format!("Asterisk did not stop: {error}"));
        }
    }
}
