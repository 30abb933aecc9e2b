//! `asterscribe demo`: the main job, end to end, on this machine alone. A
//! server is started as a user would start it, a call of two parties is sent to it
//! over loopback in real time, and the transcript is fetched through the REST API
//! while it grows. With a real model people speak in it, with the demo model its
//! synthetic voices, as Asterisk sent them.

mod conversation;

use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use asterscribe::replay::line_to_text;
use asterscribe::service::{MediaGrant, TranscriptView};

use self::conversation::DemoConversation;

/// How long the server may take to come up, and to answer.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How long the last words may take after the hang-up.
const CLOSE_PATIENCE: Duration = Duration::from_secs(30);

/// Time between two looks at the transcript.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// A real model, and recordings of what people say in the call.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct DemoOptions {
    /// A ggml file or a CTranslate2 folder; by default the demo model.
    #[arg(long, requires = "prompts")]
    model: Option<PathBuf>,
    /// Asterisk's English prompts: lines of NAME, seconds, 8 kHz WAV file and text, separated by tabs.
    #[arg(long, requires = "model")]
    prompts: Option<PathBuf>,
}

/// Runs the demonstration; fails if the words are not the spoken ones.
pub(crate) async fn run(options: &DemoOptions) -> Result<ExitCode> {
    let call = match &options.prompts {
        Some(prompts) => DemoConversation::of_people(prompts)?,
        None => DemoConversation::bundled()?,
    };
    let mut out = io::stdout();
    let server = DemoServer::start(options.model.as_deref()).await?;
    writeln!(out, "asterscribe is up at {}\n", server.base)?;
    writeln!(out, "  {}\n", server.model().await?)?;
    let mut senders = Vec::new();
    for leg in call.legs() {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let body = json!({"source": socket.local_addr()?, "leg": leg, "format": "ulaw"});
        let grant: MediaGrant = server.post("/api/call/demo/media", Some(body)).await?;
        socket.connect(SocketAddr::new(grant.send_to.host, grant.send_to.port))?;
        writeln!(
            out,
            "POST /api/call/demo/media: {} sends to {}",
            leg,
            socket.peer_addr()?
        )?;
        senders.push(socket);
    }
    writeln!(
        out,
        "\nSending {} s of {}; GET /api/call/demo/transcript says:\n",
        call.length().as_secs(),
        call.what
    )?;
    let mut shown = 0;
    let sending = call.send(&senders);
    tokio::pin!(sending);
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    loop {
        tokio::select! {
            sent = &mut sending => break sent?,
            _ = look.tick() => shown = server.show_from(&mut out, shown).await?.1,
        }
    }
    let _ended: Value = server.post("/api/call/demo/hangup", None).await?;
    let complete = async {
        loop {
            let (complete, next) = server.show_from(&mut out, shown).await?;
            shown = next;
            if complete {
                return Ok::<(), anyhow::Error>(());
            }
            look.tick().await;
        }
    };
    timeout(CLOSE_PATIENCE, complete)
        .await
        .context("the transcript was not completed in time")??;
    let heard = server.transcript(0).await?;
    call.judge(&heard.lines, &mut out)?;
    server.stop().await?;
    writeln!(out, "{NEXT}")?;
    Ok(ExitCode::SUCCESS)
}

const NEXT: &str = "
What to try next:
  asterscribe replay fixtures/asterisk22_ulaw_stasis.pcap     the transcript of a capture file
  make demo-asterisk                                          the same with a real Asterisk placing the call
  deploy/asterisk/README.md                                   beside your own Asterisk or FreePBX
  asterscribe models pull base                                a model for many languages; docs/models.md";

/// The server under demonstration, a process of its own.
struct DemoServer {
    child: Child,
    base: String,
    client: reqwest::Client,
    _folder: DemoFolder,
}

impl DemoServer {
    async fn start(model: Option<&Path>) -> Result<Self> {
        let folder = DemoFolder::create()?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("serve")
            .current_dir(&folder.0)
            // Embedded defaults, whatever this shell has set.
            .env_clear()
            .env("HTTP_BIND", "127.0.0.1:0")
            .env("RTP_BIND", "127.0.0.1:0")
            .env("SQLITE_PATH", folder.0.join("demo.db"))
            .env("LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(model) = model {
            let model = fs::canonicalize(model);
            command.env("WHISPER_MODEL", model.context("cannot find the model")?);
        }
        let mut child = command.spawn().context("cannot start the server")?;
        let stderr = child.stderr.take().context("the server has no log")?;
        let http = timeout(START_PATIENCE, ready(stderr))
            .await
            .context("the server did not come up in time")??;
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(START_PATIENCE)
            .build()?;
        Ok(Self {
            child,
            base: format!("http://{http}"),
            client,
            _folder: folder,
        })
    }

    async fn model(&self) -> Result<String> {
        let health: Value = self.get("/health").await?;
        Ok(health["model"]["detail"]
            .as_str()
            .unwrap_or("the model is unknown")
            .to_owned())
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T> {
        let answer = self
            .client
            .get(format!("{}{path}", self.base))
            .send()
            .await?;
        Self::read(path, answer).await
    }

    async fn post<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: Option<Value>,
    ) -> Result<T> {
        let mut request = self.client.post(format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.json(&body);
        }
        Self::read(path, request.send().await?).await
    }

    async fn read<T: serde::de::DeserializeOwned>(
        path: &str,
        answer: reqwest::Response,
    ) -> Result<T> {
        if !answer.status().is_success() {
            bail!(
                "{path} answered {}: {}",
                answer.status(),
                answer.text().await.unwrap_or_default()
            );
        }
        Ok(answer.json().await?)
    }

    async fn transcript(&self, from_seq: u64) -> Result<TranscriptView> {
        self.get(&format!("/api/call/demo/transcript?from_seq={from_seq}"))
            .await
    }

    /// Prints the lines from `from_seq` on. The result says whether the transcript is complete, and
    /// the number of the next line.
    async fn show_from(&self, out: &mut impl Write, from_seq: u64) -> Result<(bool, u64)> {
        let view = self.transcript(from_seq).await?;
        for line in &view.lines {
            writeln!(out, "  {}", line_to_text(line))?;
        }
        Ok((
            view.complete,
            view.lines.last().map_or(from_seq, |line| line.seq + 1),
        ))
    }

    async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("cannot stop the server")?;
        Ok(())
    }
}

/// The server's working folder, gone with it however the demonstration ends.
struct DemoFolder(PathBuf);

impl DemoFolder {
    /// Creates a folder under a random name that nobody can have prepared.
    fn create() -> Result<Self> {
        let name = format!("asterscribe-demo-{}", uuid::Uuid::new_v4());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for DemoFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "cannot remove the folder of the demo");
        }
    }
}

/// Waits for the server's "ready" and returns its HTTP address; keeps reading so that its log cannot block it.
async fn ready(stderr: tokio::process::ChildStderr) -> Result<String> {
    let mut lines = BufReader::new(stderr).lines();
    let mut log = String::new();
    while let Some(line) = lines.next_line().await? {
        let entry: Value = serde_json::from_str(&line).unwrap_or_default();
        if entry["fields"]["message"] == "ready" {
            let http = entry["fields"]["http"]
                .as_str()
                .context("no address in the log")?
                .to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(http);
        }
        log.push_str(&line);
        log.push('\n');
    }
    bail!("the server ended while starting:\n{log}")
}
