//! Start, run and stop of the server.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use asterscribe_clock as clock;
use asterscribe_recognition::TranscribeError;
use asterscribe_recognition::model::ModelError;
use asterscribe_recognition::pool::RecognitionPool;
use asterscribe_store::{
    CallStore, RedisStore, SqliteStore, StoreError, StoreWriter, WriterSettings,
};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::address::advertised;
use super::captures::{CaptureRecording, FollowedRecording};
use super::instance::NodeInstance;
use super::limits::{self, BudgetDemand, ServerBudget};
use super::recognition::{defaults, open_spool, session_config, start_second_pass, start_speech};
use super::shutdown::{self, DRAIN_GRACE, LastResort, SecondPassEngine};
use crate::api::{self, ApiConfig, ApiLimits, ServeLimits};
use crate::calls::late_results::{LateRecognition, LateResultEnds};
use crate::calls::{
    AriLink, CallManager, CallManagerConfig, CallManagerParts, PlayTargets, RecalledCall,
};
use crate::config::{Language, Settings};
use crate::media::{JobTicket, MediaConfig, MediaPlane, PortPool};

/// Time between two looks at the media sockets.
const TICK: Duration = Duration::from_millis(5);

/// Events on their way from the media threads to the call manager.
const MEDIA_EVENTS: usize = 8192;

/// How long the store is waited for at start, to learn what a predecessor left.
const RECALL_PATIENCE: Duration = Duration::from_secs(5);

/// Time between two clean-ups of the store.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);

/// Reason why the server does not come up. Each names the setting that is concerned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The HTTP address cannot be had.
    #[error("HTTP_BIND: cannot listen on {address}: {source}")]
    Http {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The RTP address cannot be had.
    #[error("RTP_BIND: {0}")]
    Rtp(io::Error),
    /// No address can be advertised to send RTP to.
    #[error(
        "RTP_BIND={bind} is no address to send to, and {reason}: set RTP_ADVERTISE to the one that Asterisk can reach"
    )]
    Advertise {
        /// The address.
        bind: SocketAddr,
        /// Reason why no address could be found out.
        reason: String,
    },
    /// The model cannot be used.
    #[error("{setting}: {source}")]
    Model {
        /// The setting that chose it.
        setting: &'static str,
        /// Reason.
        source: ModelError,
    },
    /// The model is not on the disk, and can be downloaded.
    #[error("{setting}: there is no {path}: `asterscribe models pull {name}` fetches it", path = path.display())]
    NoModel {
        /// The setting that chose it.
        setting: &'static str,
        /// Path where the model would be.
        path: PathBuf,
        /// Name by which `asterscribe models pull` downloads it.
        name: String,
    },
    /// The model does not know the language that `WHISPER_LANGUAGE` sets.
    #[error(
        "WHISPER_LANGUAGE={language}: the model {model} knows English only; take one without .en in its name, or set WHISPER_LANGUAGE=en"
    )]
    Language {
        /// Language of the settings.
        language: Language,
        /// The model's name.
        model: String,
    },
    /// `PLAY_DIR` is no folder that can be read.
    #[error("PLAY_DIR: {path} cannot be read as a folder: {source}", path = path.display())]
    PlayDir {
        /// The path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The model's workers do not start.
    #[error(transparent)]
    Speech(#[from] TranscribeError),
    /// The store cannot be used, now or later.
    #[error("{setting}: {source}")]
    Store {
        /// The setting that chose it.
        setting: &'static str,
        /// Reason.
        source: StoreError,
    },
    /// The system lets the process open too few files.
    #[error("ulimit -n: {limit} open files leave no room for a call: {open} are open already")]
    OpenFiles {
        /// Limit of open files of the process.
        limit: usize,
        /// Files that are open already, without a call.
        open: usize,
    },
    /// Asterisk cannot be spoken to as configured.
    #[error("{0}")]
    Asterisk(String),
    /// Captures cannot be kept there.
    #[error("CAPTURE_DIR: {0}")]
    Capture(io::Error),
    /// Speech that has to wait cannot be kept there.
    #[error("SPOOL_PATH: {0}")]
    Spool(StoreError),
}

/// Runs until `shutdown` ends. Returns once everything is down, or at once
/// with the reason why it could not come up.
///
/// # Errors
/// What keeps the server from coming up.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let no_http = |source| StartError::Http {
        address: settings.http_bind,
        source,
    };
    let listener = api::listen(settings.http_bind).map_err(no_http)?;
    let http = listener.local_addr().map_err(no_http)?;
    let running = RunningServer::start(&settings).await?;
    let rtp = running.rtp.map(|rtp| rtp.to_string()).unwrap_or_default();
    tracing::info!(%http, rtp, version = env!("CARGO_PKG_VERSION"), "ready");
    running.serve(listener, &settings, shutdown).await;
    Ok(())
}

/// Parts of the running server, all but the REST API.
struct RunningServer {
    manager: Arc<CallManager>,
    plane: MediaPlane,
    /// Address that is advertised for the first media thread.
    rtp: Option<SocketAddr>,
    ari_task: Option<JoinHandle<()>>,
    stop_ari: watch::Sender<bool>,
    follower: JoinHandle<()>,
    captures: Option<FollowedRecording>,
    backlog: Option<LateRecognition>,
    second_pass: Option<SecondPassEngine>,
    /// Pool of last resort, where there is a spool.
    last_resort: Option<LastResort>,
    /// Connections that the API may have at once.
    connections: usize,
    /// Tasks that may be cut off at the end.
    chores: [JoinHandle<()>; 5],
    instance: Arc<NodeInstance>,
}

impl RunningServer {
    async fn start(settings: &Settings) -> Result<Self, StartError> {
        check_play_dir(settings)?;
        let (recogniser, pool) = start_speech(settings)?;
        let store = open_store(settings).await?;
        let (media_events, media_heard) = mpsc::channel(MEDIA_EVENTS);
        let spool = open_spool(settings)?;
        let backlog = spool
            .clone()
            .map(|spool| LateRecognition::start(spool, pool.handle()));
        let (backlog, ends) = backlog.transpose().map_err(no_thread)?.unzip();
        let plane = start_media(settings, &pool, &media_events)?;
        drop(media_events);
        let threads = plane.threads();
        let targets = advertised(settings, &threads)?;
        let budget = budget(settings)?;
        let host = settings.rtp_bind.ip();
        let own_ports = settings.rtp_own_ports;
        let own_ports = own_ports.map(|range| PortPool::new(host, range, budget.own_ports));
        let (ari, ari_task) = AriLink::prepare(settings, &targets, budget.calls);
        let writer = StoreWriter::spawn(Arc::clone(&store), WriterSettings::default(), clock::wall);
        let rtp = targets.first();
        let rtp = rtp.map(|target| SocketAddr::new(target.host, target.port));
        let recording = CaptureRecording::start(settings.capture.as_ref());
        let recording = recording.map_err(StartError::Capture)?;
        let config = CallManagerConfig {
            node: settings.node_name.clone(),
            max_calls: budget.calls,
            media_idle: settings.media_idle,
            retention: settings.retention,
            endpoint: settings.originate_endpoint.clone(),
            targets,
            models_dir: settings.models_dir.clone(),
            defaults: defaults(settings),
            play_dir: settings.play_dir.clone(),
            play_max_bytes: settings.play_max_bytes,
            play_targets: PlayTargets {
                networks: settings.play_targets.clone(),
                asterisk: settings.ari.as_ref().map(|ari| ari.url.clone()),
            },
        };
        let last_resort = spool.as_ref().map(|_| LastResort {
            pool: pool.handle(),
            recogniser: Arc::clone(&recogniser),
        });
        let parts = CallManagerParts {
            threads,
            own_ports,
            store: Arc::clone(&store),
            writer,
            pool: pool.stats(),
            recogniser,
            spool,
            ari,
            captures: recording.as_ref().map(CaptureRecording::for_desk),
        };
        let manager = Arc::new(CallManager::new(config, parts));
        let ears = Arc::clone(&manager);
        let follower = tokio::spawn(async move { ears.follow_media(media_heard).await });
        let historian = Arc::clone(&manager);
        let historian = tokio::spawn(async move { historian.follow_histories().await });
        let watcher = Arc::clone(&manager);
        let watcher = tokio::spawn(async move { watcher.follow_load().await });
        let keeper = Arc::clone(&manager);
        let keeper = tokio::spawn(async move { keeper.follow_store().await });
        let second_pass = start_second_pass(settings, &manager, pool.stats())?;
        manager.estimate_capacity();
        let instance = Arc::new(NodeInstance::new(settings, Arc::clone(&store)));
        let (recalled, claim) = recall(&manager, &instance).await;
        let (stop_ari, ari_stopped) = watch::channel(false);
        let ari_task = ari_task
            .map(|task| task.spawn(Arc::clone(&manager), recalled, ari_stopped))
            .transpose()
            .map_err(StartError::Asterisk)?;
        let keep = settings.retention.call;
        let ears = Arc::clone(&manager);
        if let Some(LateResultEnds { heard, handled }) = ends {
            tokio::spawn(async move { ears.follow_backlog(heard, handled).await });
        }
        let expiry = tokio::spawn(expire_forever(store, Arc::clone(&manager), keep));
        Ok(Self {
            captures: recording.map(|recording| recording.follow(Arc::clone(&manager))),
            manager,
            backlog,
            second_pass,
            last_resort,
            plane,
            rtp,
            ari_task,
            stop_ari,
            follower,
            connections: budget.connections,
            chores: [historian, expiry, watcher, keeper, claim],
            instance,
        })
    }

    /// Serves the API until `shutdown` ends, then takes everything down.
    async fn serve(
        self,
        listener: TcpListener,
        settings: &Settings,
        shutdown: impl Future<Output = ()>,
    ) {
        let api = ApiConfig {
            token: settings.api_token.clone(),
            cors: settings.cors.clone(),
            limits: ApiLimits {
                upload: settings.play_max_bytes,
                rates: settings.http_rates,
                ..ApiLimits::default()
            },
        };
        let limits = ServeLimits {
            connections: self.connections,
            per_address: settings.http_connections_per_address,
            drain_time: DRAIN_GRACE,
            ..ServeLimits::default()
        };
        let router = api::router(Arc::clone(&self.manager) as _, &api);
        let asked = tokio::sync::Notify::new();
        let told = async {
            shutdown.await;
            tracing::info!("shutting down");
            asked.notify_one();
        };
        // Both at the same time: no new calls by either way, and a command that
        // somebody still waits for is answered because the machine is told to stop.
        let without_asterisk = async {
            asked.notified().await;
            self.stop_ari.send_replace(true);
            shutdown::release_callers(self.ari_task).await;
        };
        tokio::join!(api::serve(listener, router, limits, told), without_asterisk);
        let [historian, expiry, watcher, keeper, claim] = self.chores;
        expiry.abort();
        watcher.abort();
        keeper.abort();
        shutdown::stop_backlogs(self.backlog, self.second_pass).await;
        shutdown::say_the_last(&self.manager, self.last_resort).await;
        shutdown::stop(&self.manager, self.plane, self.follower, self.captures).await;
        historian.abort();
        claim.abort();
        self.instance.release().await;
    }
}

async fn open_store(settings: &Settings) -> Result<Arc<dyn CallStore>, StartError> {
    let Some(url) = &settings.redis_url else {
        let refused = |source| StartError::Store {
            setting: "SQLITE_PATH",
            source,
        };
        let store = SqliteStore::open(&settings.sqlite_path, settings.retention, clock::wall);
        return Ok(Arc::new(store.map_err(refused)?));
    };
    let refused = |source| StartError::Store {
        setting: "REDIS_URL",
        source,
    };
    let store = RedisStore::new(url.expose(), settings.retention).map_err(refused)?;
    match store.try_write().await {
        // A wrong password, or a user that may not write, is best mended now, and by whoever starts us.
        Err(broken @ (StoreError::Broken(_) | StoreError::Denied(_))) => {
            return Err(refused(broken));
        }
        Err(away) => {
            tracing::warn!(%away, "Redis is unreachable; calls are served and writes wait for it")
        }
        Ok(()) => {}
    }
    Ok(Arc::new(store))
}

/// A folder that is not there now is a slip: without it every request to play a file would fail.
fn check_play_dir(settings: &Settings) -> Result<(), StartError> {
    let Some(path) = &settings.play_dir else {
        return Ok(());
    };
    std::fs::read_dir(path).map(drop).map_err(|source| {
        let path = path.clone();
        StartError::PlayDir { path, source }
    })
}

fn no_thread(error: io::Error) -> StartError {
    TranscribeError(format!("cannot start a thread: {error}")).into()
}

fn start_media(
    settings: &Settings,
    pool: &RecognitionPool<JobTicket>,
    events: &mpsc::Sender<crate::media::MediaEvent>,
) -> Result<MediaPlane, StartError> {
    let config = MediaConfig {
        bind: settings.rtp_bind,
        threads: settings.rtp_threads,
        tick: TICK,
        own_ports: settings.rtp_own_ports.is_some(),
        session: session_config(settings),
        keeps_late: settings.spool.is_some(),
    };
    MediaPlane::start(&config, pool, events).map_err(StartError::Rtp)
}

/// Calls and connections that the limit of open files allows, with everything else open.
fn budget(settings: &Settings) -> Result<ServerBudget, StartError> {
    let wanted = settings.max_concurrent_calls;
    let demand = BudgetDemand {
        calls: wanted,
        own_ports: settings.rtp_own_ports.is_some(),
        asterisk: settings.ari.is_some(),
    };
    let told = limits::raise_open_files().and_then(|limit| Ok((limit, limits::open_files()?)));
    let (limit, open) = told.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot read the limit of open files");
        (usize::MAX, 0)
    });
    let budget = limits::share(limit, open, demand).ok_or(StartError::OpenFiles { limit, open })?;
    if budget.calls < wanted {
        let calls = budget.calls;
        tracing::warn!(
            calls,
            wanted,
            limit,
            "open files suffice for fewer calls than MAX_CONCURRENT_CALLS; raise ulimit -n"
        );
    }
    Ok(budget)
}

/// Reads what an earlier process left, if no other server has our name. A store that is away is
/// asked again later, by the task that keeps the name from now on.
async fn recall(
    manager: &Arc<CallManager>,
    instance: &Arc<NodeInstance>,
) -> (Vec<RecalledCall>, JoinHandle<()>) {
    let claimed = instance.claim_at_start().await;
    let asked = async {
        match claimed {
            Ok(true) => manager.recall().await.map(Some),
            // Who has it settles what is left.
            Ok(false) => Ok(None),
            Err(away) => Err(away),
        }
    };
    let recalled = match tokio::time::timeout(RECALL_PATIENCE, asked).await {
        Ok(Ok(recalled)) => recalled,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the store cannot list the calls left open; asking again later");
            None
        }
        Err(_) => {
            tracing::warn!(
                "the store does not list the calls left open in time; asking again later"
            );
            None
        }
    };
    let keeping = Arc::clone(instance).keep(Arc::clone(manager), recalled.is_some());
    (recalled.unwrap_or_default(), tokio::spawn(keeping))
}

async fn expire_forever(store: Arc<dyn CallStore>, manager: Arc<CallManager>, captures: Duration) {
    let mut interval = tokio::time::interval(EXPIRY_INTERVAL);
    loop {
        interval.tick().await;
        manager.expire_captures(captures);
        match store.expire().await {
            Ok(0) => {}
            Ok(gone) => tracing::info!(gone, "removed calls older than their retention time"),
            Err(error) => tracing::warn!(%error, "cannot remove expired calls"),
        }
    }
}
