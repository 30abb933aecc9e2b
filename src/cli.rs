//! The command line.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use asterscribe::config::Settings;
use asterscribe::models::{self, ModelOrder, PullProgress};
use asterscribe::serve::{recognition, server};
use asterscribe::{replay, telemetry};
use asterscribe_clock as clock;
use asterscribe_recognition::worker;
use asterscribe_recognition::workers::WorkerStarter;
use asterscribe_session::SessionConfig;
use clap::{Parser, Subcommand, ValueEnum};

use crate::demo;
use crate::signals::ServerSignals;

/// A live, searchable transcript for every call on an Asterisk PBX.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct CommandLine {
    /// A TOML file with settings; the environment and `.env` come before it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Runs the server until it is told to stop.
    Serve,
    /// Prints the transcript of the RTP in a capture file.
    Replay {
        /// A pcap or pcapng file, also gzipped; - reads standard input.
        file: PathBuf,
        /// Format that a payload type carries where nothing in the file says so: 96=opus; may be
        /// repeated.
        #[arg(long = "payload", value_name = "PT=FORMAT")]
        payloads: Vec<replay::ToldPayload>,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = ReplayFormat::Text)]
        format: ReplayFormat,
    },
    /// Shows the whole path on this machine alone: a call of two parties becomes a transcript.
    Demo(demo::DemoOptions),
    /// Starts asterscribe-bench, the program of its own that measures what this one costs; its own
    /// name is the way to call it from the next release on.
    #[command(hide = true, disable_help_flag = true)]
    Bench {
        /// Arguments of asterscribe-bench.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Lists, fetches and checks speech models.
    Models {
        /// Subcommand.
        #[command(subcommand)]
        what: ModelsCommand,
    },
    /// Works for a server that started this process: recognises what it is handed.
    #[command(hide = true)]
    Recognise,
    /// Asks a running server how it is; exit status 0 if it answers that it serves.
    Healthcheck {
        /// Address of the server; by default where HTTP_BIND has it listen.
        url: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// Lists the published models, and which of them are here.
    List {
        /// Finds out how many calls this machine holds with each model that is here.
        #[arg(long)]
        cost: bool,
    },
    /// Fetches a model into WHISPER_MODELS_DIR; goes on where an earlier attempt broke off.
    Pull {
        /// Name as in WHISPER_MODEL_SIZE, such as base.en.
        name: String,
        /// Form of the model; by default the one that costs the least on this machine.
        #[arg(long, value_enum)]
        format: Option<ModelFormat>,
    },
    /// Says what a file or folder is, and whether the server can use it.
    Check {
        /// A ggml file or a CTranslate2 folder.
        path: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModelFormat {
    /// A file for whisper.cpp, from MODELS_URL.
    Ggml,
    /// A folder for CTranslate2, from MODELS_HUB_URL.
    Ct2,
}

impl From<ModelFormat> for models::PublishedFormat {
    fn from(format: ModelFormat) -> Self {
        match format {
            ModelFormat::Ggml => Self::Ggml,
            ModelFormat::Ct2 => Self::CTranslate2,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReplayFormat {
    Text,
    Json,
}

/// Time for `/health` to answer.
const HEALTH_PATIENCE: Duration = Duration::from_secs(5);

/// Time for what still runs in the background when the server is down.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// Does what the command line asks.
pub(crate) fn run(cli: CommandLine) -> Result<ExitCode> {
    match cli.command {
        CliCommand::Serve => serve(cli.config.as_deref()),
        CliCommand::Replay {
            file,
            payloads,
            format,
        } => replay(cli.config.as_deref(), &file, &payloads, format),
        CliCommand::Demo(options) => runtime()?.block_on(demo::run(&options)),
        CliCommand::Bench { arguments } => bench(&arguments),
        CliCommand::Models { what } => models(cli.config.as_deref(), what),
        CliCommand::Recognise => worker::run()
            .map(|()| ExitCode::SUCCESS)
            .context("recognition worker"),
        CliCommand::Healthcheck { url } => healthcheck(cli.config.as_deref(), url),
    }
}

/// Becomes asterscribe-bench, which is built beside this program.
fn bench(arguments: &[OsString]) -> Result<ExitCode> {
    let program = env::current_exe()?.with_file_name("asterscribe-bench");
    let failed = Command::new(&program).args(arguments).exec();
    Err(failed).with_context(|| {
        format!(
            "cannot start {} (cargo build --release -p asterscribe-bench builds it)",
            program.display()
        )
    })
}

fn serve(config: Option<&Path>) -> Result<ExitCode> {
    let settings = Settings::from_process(config)?;
    telemetry::start(&settings);
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        let signals = ServerSignals::hear()?;
        server::run(settings, signals.told_to_stop()).await?;
        anyhow::Ok(())
    });
    // A name that is still being resolved must not hold up the end.
    runtime.shutdown_timeout(END_PATIENCE);
    served.map(|()| ExitCode::SUCCESS)
}

/// ARI, HTTP and stores; the media path has threads of its own.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

fn replay(
    config: Option<&Path>,
    file: &Path,
    payloads: &[replay::ToldPayload],
    format: ReplayFormat,
) -> Result<ExitCode> {
    let settings = Settings::from_process(config)?;
    let model = recognition::open_model(&settings)?;
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let recogniser = WorkerStarter::start(recognition::worker_program(&settings), model, workers)?;
    let pool = recogniser.pool(workers, None)?;
    // What is replayed can be replayed again, by whatever model.
    let config = SessionConfig {
        second_pass: None,
        ..recognition::session_config(&settings)
    };
    let report = replay::run(file, payloads, config, &pool, clock::now())?;
    let mut out = io::stdout().lock();
    let printed = match format {
        ReplayFormat::Text => write!(out, "{}", report.to_text()),
        ReplayFormat::Json => serde_json::to_writer_pretty(&mut out, &report)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out)),
    };
    printed.context("cannot print the transcript")?;
    let nothing = report.heard_nothing();
    let warnings = report.broken.iter().chain(&report.notes).chain(&nothing);
    for warning in warnings {
        writeln!(io::stderr(), "{}: {warning}", file.display())
            .context("cannot print the warning")?;
    }
    // Who asked for the words of packets got none: scripts should know.
    Ok(match report.flows.is_empty() && report.packets > 0 {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn models(config: Option<&Path>, what: ModelsCommand) -> Result<ExitCode> {
    let text = match what {
        ModelsCommand::List { cost } => {
            let settings = Settings::from_process(config)?;
            let calls_held = |model: &Path| recognition::calls_held(&settings, model);
            models::list(&settings, cost.then_some(&calls_held))
        }
        ModelsCommand::Pull { name, format } => {
            pull(&Settings::from_process(config)?, &name, format)?
        }
        ModelsCommand::Check { path } => models::check(&path)?,
    };
    write!(io::stdout(), "{text}").context("cannot print")?;
    Ok(ExitCode::SUCCESS)
}

fn pull(settings: &Settings, name: &str, format: Option<ModelFormat>) -> Result<String> {
    let order = ModelOrder::new(name, format.map(models::PublishedFormat::from), settings)?;
    let mut progress = PullProgress::new(io::stderr(), io::stderr().is_terminal());
    let mut show = |done, total| {
        // Whoever closed standard error does not want to know.
        let _unseen = progress.show(done, total);
    };
    let pulled = runtime()?.block_on(async {
        match &order {
            ModelOrder::File(wanted) => models::pull(wanted, &mut show).await,
            ModelOrder::Folder(wanted) => models::pull_folder(wanted, &mut show).await,
        }
    });
    let _unseen = progress.end();
    Ok(models::told(name, &order, &pulled?, settings))
}

fn healthcheck(config: Option<&Path>, url: Option<String>) -> Result<ExitCode> {
    let base = match url {
        Some(url) => url,
        None => {
            let mut bind = Settings::from_process(config)?.http_bind;
            if bind.ip().is_unspecified() {
                bind.set_ip(if bind.is_ipv4() {
                    [127, 0, 0, 1].into()
                } else {
                    std::net::Ipv6Addr::LOCALHOST.into()
                });
            }
            format!("http://{bind}")
        }
    };
    let url = format!("{}/health", base.trim_end_matches('/'));
    runtime()?.block_on(async {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(HEALTH_PATIENCE)
            .build()?;
        let answer = client
            .get(&url)
            .send()
            .await
            .with_context(|| format!("{url} does not answer"))?;
        if !answer.status().is_success() {
            bail!("{url} answers {}", answer.status());
        }
        Ok(ExitCode::SUCCESS)
    })
}
