//! The server under test, as its users run it: a process of its own, settings
//! from the environment alone, watched through its log and its API.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::http::Client;
use crate::process::{self, Process};
use crate::{Error, Response, Result, host};

/// The running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    binary: PathBuf,
    settings: BTreeMap<String, String>,
    process: Option<Process>,
    dir: TempDir,
    client: Client,
    http: SocketAddr,
    rtp: SocketAddr,
}

/// Loading a model takes less than a second; a loaded machine takes several.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Time for the server to stop: longer than its own limit for closing calls.
const STOP_GRACE: Duration = Duration::from_secs(30);

/// Begins `asterscribe` with nothing inherited but what finds programs; the
/// working folder is empty, so no `.env` of the checkout is read.
fn launch(
    binary: &Path,
    dir: &Path,
    arguments: &[&str],
    settings: &BTreeMap<String, String>,
) -> std::process::Command {
    let mut command = process::command(binary);
    command
        .env_clear()
        .args(arguments)
        .current_dir(dir)
        .envs(settings);
    if let Some(path) = host::variable("PATH") {
        command.env("PATH", path);
    }
    command
}

impl Server {
    /// Starts `binary serve` and waits for its log line "ready". Defaults:
    /// JSON log, fresh loopback ports, an SQLite file in a folder of its own;
    /// `settings` add to these and override them.
    pub fn start(binary: impl AsRef<Path>, settings: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("asterscribe-").tempdir();
        let dir = dir.map_err(Error::io("cannot create a folder for the server"))?;
        let database = dir.path().join("calls.db").display().to_string();
        let defaults = [
            ("LOG_FORMAT", "json"),
            ("HTTP_BIND", "127.0.0.1:0"),
            ("RTP_BIND", "127.0.0.1:0"),
            ("SQLITE_PATH", &database),
        ];
        let all = defaults.iter().chain(settings);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self {
            binary: binary.as_ref().to_owned(),
            settings: all
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            process: None,
            dir,
            client: Client::new(),
            http: nowhere,
            rtp: nowhere,
        };
        server.restart()?;
        Ok(server)
    }

    /// Runs `binary` with these arguments and settings until it ends by itself:
    /// for starts that must be refused. The status and everything it printed.
    pub fn run_to_end(
        binary: impl AsRef<Path>,
        arguments: &[&str],
        settings: &[(&str, &str)],
        limit: Duration,
    ) -> Result<(ExitStatus, String)> {
        let dir =
            tempfile::tempdir().map_err(Error::io("cannot create a folder for the server"))?;
        let log = dir.path().join("output.log");
        let owned = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let command = launch(binary.as_ref(), dir.path(), arguments, &owned);
        let mut process = Process::spawn("asterscribe", command, &log)?;
        let status = host::poll_until(host::now() + limit, || process.exit_status().transpose())
            .transpose()?;
        let text = fs::read(&log).map_err(Error::io("cannot read the server's output"))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let tail = process::log_tail(&log);
        status
            .map(|status| (status, text))
            .ok_or_else(|| Error::TimedOut {
                what: "its end".into(),
                limit,
                log: tail,
            })
    }

    /// Starts it again with the same settings and database, as after a crash;
    /// ends it first if need be. Ports that were given as 0 are drawn anew.
    pub fn restart(&mut self) -> Result<()> {
        self.terminate()?;
        let known = self.log().len();
        let command = launch(&self.binary, self.dir.path(), &["serve"], &self.settings);
        let mut process = Process::spawn("asterscribe", command, &self.log_file())?;
        let ready = || {
            self.log()
                .split_off(known)
                .into_iter()
                .find(|line| line["fields"]["message"] == "ready")
        };
        let line = process.await_ready("log that it is ready", START_LIMIT, ready)?;
        let address = |field: &str| {
            let text = line["fields"][field].as_str().unwrap_or_default();
            text.parse().map_err(|_| {
                Error::Failed(format!(
                    "the log line \"ready\" names no address as {field}: {line}"
                ))
            })
        };
        (self.http, self.rtp) = (address("http")?, address("rtp")?);
        self.process = Some(process);
        Ok(())
    }

    /// Changes a setting for the next [`Server::restart`].
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    /// Ends the server: SIGTERM and a bounded wait, then SIGKILL; the exit status if it ran.
    pub fn terminate(&mut self) -> Result<Option<ExitStatus>> {
        self.process
            .take()
            .map(|mut process| process.terminate(STOP_GRACE))
            .transpose()
    }

    /// Kills the server with SIGKILL, as a crash would.
    pub fn kill9(&mut self) -> Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |mut process| process.kill9().map(drop))
    }

    /// Whether the server runs.
    pub fn is_running(&mut self) -> Result<bool> {
        self.process.as_mut().map_or(Ok(false), |process| {
            process.exit_status().map(|status| status.is_none())
        })
    }

    /// `GET` of a path.
    pub fn get(&self, path: &str) -> Result<Response> {
        self.request("GET", path, &[], None)
    }

    /// `POST` of JSON to a path.
    pub fn post(&self, path: &str, body: &Value) -> Result<Response> {
        self.request(
            "POST",
            path,
            &[("Content-Type", "application/json")],
            Some(&body.to_string()),
        )
    }

    /// Any request; with `API_AUTH_TOKEN` set, its bearer token goes along
    /// unless the headers have an `Authorization` of their own.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Response> {
        self.send(method, path, headers, body.map(str::as_bytes))
    }

    /// `POST` of a file to a path.
    pub fn upload(&self, path: &str, media_type: &str, file: &[u8]) -> Result<Response> {
        self.send("POST", path, &[("Content-Type", media_type)], Some(file))
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Response> {
        let token = self
            .settings
            .get("API_AUTH_TOKEN")
            .map(|token| format!("Bearer {token}"));
        let mut all = headers.to_vec();
        if let Some(token) = &token
            && !headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        {
            all.push(("Authorization", token));
        }
        let url = format!("http://{}{path}", self.http);
        self.client.send(method, &url, &all, body)
    }

    /// Lines of the server's JSON log since its first start; a line that is no JSON comes as a
    /// string.
    pub fn log(&self) -> Vec<Value> {
        let bytes = fs::read(self.log_file()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.to_owned()))
            })
            .collect()
    }

    /// Address at which the API is served.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Address at which RTP is received.
    pub fn rtp(&self) -> SocketAddr {
        self.rtp
    }

    /// Process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Folder of the server, with the database and the log.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            process::report(&format!(
                "the server's log{}",
                process::log_tail(&self.log_file())
            ));
        }
        if let Err(error) = self.terminate() {
            process::report(&format!("the server did not stop: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn script(dir: &TempDir, body: &str) -> PathBuf {
        let path = dir.path().join("server");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn readiness_and_addresses_come_from_the_log_and_a_restart_waits_for_a_line_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let ready = r#"echo 'plain text' >&2; env | sort >&2; echo "$1" >&2
            echo '{"fields":{"message":"ready","http":"127.0.0.1:81","rtp":"127.0.0.1:82"}}' >&2
            exec sleep 600"#;
        let mut server = Server::start(
            script(&dir, ready),
            &[("RTP_BIND", "[::1]:0"), ("EXTRA", "yes")],
        )
        .unwrap();
        assert_eq!((server.http().port(), server.rtp().port()), (81, 82));
        let log = server.log();
        for line in [
            "plain text",
            "serve",
            "EXTRA=yes",
            "RTP_BIND=[::1]:0",
            "HTTP_BIND=127.0.0.1:0",
            "LOG_FORMAT=json",
        ] {
            assert!(
                log.contains(&Value::String(line.to_owned())),
                "{line}: {log:?}"
            );
        }
        assert!(
            !log.iter()
                .any(|line| line.as_str().is_some_and(|text| text.starts_with("CARGO_"))),
            "inherited: {log:?}"
        );
        let first = server.id().unwrap();
        server.kill9().unwrap();
        assert!(!server.is_running().unwrap());
        server.restart().unwrap();
        assert_ne!(server.id().unwrap(), first);
        assert_eq!(server.log().len(), 2 * log.len());
    }

    #[test]
    fn a_server_that_refuses_to_start_gives_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let binary = script(&dir, "echo 'HTTP_BIND is no address' >&2; exit 2");
        let error = Server::start(&binary, &[]).unwrap_err().to_string();
        assert!(error.contains("HTTP_BIND is no address"), "{error}");
        let (status, output) =
            Server::run_to_end(&binary, &["serve"], &[], Duration::from_secs(20)).unwrap();
        assert_eq!(
            (status.code(), output.as_str()),
            (Some(2), "HTTP_BIND is no address\n")
        );
    }
}
