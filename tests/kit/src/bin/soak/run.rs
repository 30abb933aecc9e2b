//! A run: callers, server and Asterisk from the first call to the time after the last.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use asterscribe_testkit::asterisk::{self, Instance, Options, Release};
use asterscribe_testkit::ports::PortBlock;
use asterscribe_testkit::program::{self, say};
use asterscribe_testkit::server::Server;
use asterscribe_testkit::sipp::{self, Callers, Plan};
use asterscribe_testkit::wav::Sound;
use asterscribe_testkit::{Error, Result, host};
use serde_json::Value;

use crate::figures::Held;
use crate::trouble::Trouble;

/// Length of a call, from the answer to the caller's hang-up.
const LENGTH_MS: u32 = 1000;
/// Calls after which memory and open files are taken as the base for comparison.
const WARM: u32 = 300;
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// Looks between two readings of the server's records: less than 1,000 calls end meanwhile.
const LOOKS: u64 = 50;
/// Time for calls under way when the last caller has gone.
const SETTLE: Duration = Duration::from_secs(90);
/// Open files that may come and go, such as connections to Asterisk.
const SPARE_FILES: usize = 16;

/// The server's own ports with `RTP_MODE=per-call`: each rests for 10 s between two calls.
const RTP_PORTS: &str = "12000-13999";

/// Modules that Asterisk needs beyond the kit's minimum to be called by SIP.
const MODULES: [&str; 10] = [
    "res_sorcery_astdb",
    "res_sorcery_memory",
    "res_pjsip",
    "res_pjsip_pubsub",
    "res_pjsip_session",
    "res_pjsip_sdp_rtp",
    "res_pjsip_caller_id",
    "res_pjsip_endpoint_identifier_anonymous",
    "res_pjsip_rfc3326",
    "chan_pjsip",
];

const DIALPLAN: &str = "[kit]\n\
    exten => soak,1,Answer()\n same => n,Stasis(asterscribe)\n same => n,Hangup()\n";

/// Load of a run: calls, their rate, and whether there is trouble.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) calls: u32,
    /// Calls that begin in a second.
    pub(crate) rate: u32,
    pub(crate) trouble: bool,
}

/// Results of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Records by the call's id.
    records: BTreeMap<String, Value>,
    channels_left: usize,
    bridges_left: usize,
    active: u64,
    warm: Option<Held>,
    end: Held,
    trouble: Trouble,
}

/// Has all calls placed and waits until they are over.
pub(crate) fn run(load: &Load, mode: &str) -> Result<Outcome> {
    let folder = tempfile::tempdir().map_err(Error::io("cannot create a folder"))?;
    let sip = PortBlock::claim()?;
    let address = SocketAddr::from(([127, 0, 0, 1], *sip.media().start()));
    let mut asterisk = Instance::start(&asterisk::install(Release::V22)?, &options(address))?;
    is_callable(&asterisk)?;
    let mut server = start(&asterisk, mode)?;
    let speech = folder.path().join("speech.ul");
    let prompt = host::workspace_dir().join("fixtures/prompts/call-back.wav");
    sipp::write_ulaw(&speech, &Sound::read(&prompt)?.samples)?;
    let plan = Plan {
        asterisk: address,
        extension: "soak",
        speech: &speech,
        calls: load.calls,
        rate: load.rate,
        length_ms: LENGTH_MS,
    };
    let mut callers = sipp::install()?.call(folder.path(), &plan)?;
    let mut outcome = watch(load, &mut callers, &mut asterisk, &mut server)?;
    settle(&mut outcome, &asterisk, &server);
    collect(&server, &mut outcome.records)?;
    outcome.end = held(&server)?;
    Ok(outcome)
}

/// Asterisk starts as well when a module cannot be loaded.
fn is_callable(asterisk: &Instance) -> Result<()> {
    for module in MODULES {
        let path = format!("/asterisk/modules/{module}.so");
        let (status, answer) = asterisk.ari("GET", &path, &[], None)?;
        if status != 200 || answer["status"] != "Running" {
            let log = std::fs::read_to_string(asterisk.log_file()).unwrap_or_default();
            let told = log
                .lines()
                .filter(|line| line.contains("ERROR") || line.contains(module));
            let told: Vec<_> = told.collect();
            return Err(Error::Failed(format!(
                "{module} does not run: {answer}; {}",
                told.join("; ")
            )));
        }
    }
    Ok(())
}

fn options(sip: SocketAddr) -> Options {
    let pjsip = format!(
        "[sip]\ntype=transport\nprotocol=udp\nbind={sip}\n\n\
         [anonymous]\ntype=endpoint\ncontext=kit\ndisallow=all\nallow=ulaw\ndirect_media=no\n"
    );
    Options {
        extensions: DIALPLAN.to_owned(),
        modules: MODULES.map(str::to_owned).to_vec(),
        files: vec![("pjsip.conf".to_owned(), pjsip)],
    }
}

fn start(asterisk: &Instance, mode: &str) -> Result<Server> {
    let url = asterisk.base_url();
    let settings = [
        ("ASTERISK_ARI_URL", url.as_str()),
        ("ASTERISK_ARI_USER", asterisk.user()),
        ("ASTERISK_ARI_PASSWORD", asterisk.password()),
        ("RTP_MODE", mode),
        ("RTP_PORTS", RTP_PORTS),
        ("MAX_CONCURRENT_CALLS", "200"),
    ];
    let chosen: Vec<_> = settings
        .into_iter()
        .filter(|(name, _)| *name != "RTP_PORTS" || mode == "per-call")
        .collect();
    let server = Server::start(program::built()?, &chosen)?;
    let connected = || {
        let health = server.get("/health").ok()?.json();
        (health["asterisk"]["state"] == "ok").then_some(())
    };
    host::poll_until(host::now() + SETTLE, connected)
        .ok_or_else(|| Error::Failed("the server did not connect to Asterisk".to_owned()))?;
    Ok(server)
}

/// Watches the calls until the last caller has gone.
fn watch(
    load: &Load,
    callers: &mut Callers,
    asterisk: &mut Instance,
    server: &mut Server,
) -> Result<Outcome> {
    let mut outcome = Outcome {
        records: BTreeMap::new(),
        channels_left: 0,
        bridges_left: 0,
        active: 0,
        warm: None,
        end: held(server)?,
        trouble: Trouble::new(),
    };
    let (begun, mut looks) = (host::now(), 0u64);
    while callers.exit_status()?.is_none() {
        looks += 1;
        host::sleep_until(host::now() + LOOK);
        if load.trouble {
            outcome.trouble.make(asterisk, server)?;
        }
        if looks.is_multiple_of(LOOKS) {
            collect(server, &mut outcome.records)?;
            say(&format!(
                "{:4} s: {} records",
                (host::now() - begun).as_secs(),
                outcome.records.len()
            ));
        }
        if outcome.warm.is_none() && outcome.records.len() >= WARM as usize {
            outcome.warm = Some(held(server)?);
        }
    }
    Ok(outcome)
}

/// Waits until nothing is left, and notes what is.
fn settle(outcome: &mut Outcome, asterisk: &Instance, server: &Server) {
    let mut nothing = || {
        let (Ok(channels), Ok(bridges), Ok(health)) = (
            asterisk.channels(),
            asterisk.bridges(),
            server.get("/health"),
        ) else {
            return false;
        };
        outcome.channels_left = channels.len();
        outcome.bridges_left = bridges.len();
        outcome.active = health.json()["active_calls"].as_u64().unwrap_or(u64::MAX);
        outcome.channels_left == 0 && outcome.bridges_left == 0 && outcome.active == 0
    };
    // What is left stands in the outcome.
    let _all_gone = host::wait_until(host::now() + SETTLE, &mut nothing);
}

fn held(server: &Server) -> Result<Held> {
    let process = server.id();
    let process = process.ok_or_else(|| Error::Failed("the server does not run".to_owned()))?;
    Held::by(process)
}

/// Adds the newest records to those that are known.
fn collect(server: &Server, records: &mut BTreeMap<String, Value>) -> Result<()> {
    let answer = server.get("/api/calls?limit=1000")?;
    let list = answer.json();
    let calls = list["calls"]
        .as_array()
        .ok_or_else(|| Error::Failed(format!("no list of calls: {}", answer.text)))?;
    for call in calls {
        if let Some(id) = call["call_id"].as_str() {
            records.insert(id.to_owned(), call.clone());
        }
    }
    Ok(())
}

impl Outcome {
    fn count(&self, wanted: impl Fn(&Value) -> bool) -> usize {
        self.records
            .values()
            .filter(|record| wanted(record))
            .count()
    }

    fn without_media(&self) -> usize {
        self.count(|record| {
            let legs = record["legs"].as_array().into_iter().flatten();
            let received = legs.filter_map(|leg| leg["stats"]["received"].as_u64());
            received.sum::<u64>() == 0
        })
    }

    /// Number of records beyond the first of a caller, each of whom calls once.
    fn callers_twice(&self) -> usize {
        let mut seen = BTreeMap::<&str, usize>::new();
        for record in self.records.values() {
            *seen
                .entry(record["caller_number"].as_str().unwrap_or("?"))
                .or_default() += 1;
        }
        seen.values().map(|count| count - 1).sum()
    }

    fn unfinished(&self) -> usize {
        self.count(|record| record["ended_at"].is_null())
    }

    /// Faults of the run, in words.
    pub(crate) fn faults(&self, load: &Load) -> Vec<String> {
        let mut faults = Vec::new();
        let mut expect = |is_well: bool, what: String| {
            if !is_well {
                faults.push(what);
            }
        };
        expect(
            self.channels_left == 0,
            format!("{} channels are left", self.channels_left),
        );
        expect(
            self.bridges_left == 0,
            format!("{} bridges are left", self.bridges_left),
        );
        expect(
            self.active == 0,
            format!("{} calls are still active", self.active),
        );
        expect(
            self.unfinished() == 0,
            format!("{} records have no end", self.unfinished()),
        );
        expect(
            self.callers_twice() == 0,
            format!("{} callers have a second record", self.callers_twice()),
        );
        if let Some(warm) = self.warm
            && !load.trouble
        {
            let allowed = warm.files + SPARE_FILES;
            expect(
                self.end.files <= allowed,
                format!(
                    "{} files are open, {} when warm",
                    self.end.files, warm.files
                ),
            );
        }
        if !load.trouble {
            let records = self.records.len();
            expect(
                records == load.calls as usize,
                format!("{records} records of {} calls", load.calls),
            );
            expect(
                self.without_media() == 0,
                format!("{} calls have no media", self.without_media()),
            );
            let failed = self.count(|record| record["status"] == "failed");
            expect(failed == 0, format!("{failed} calls failed"));
        }
        faults
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  records {}, without media {}, failed {}, without an end {}, callers with two {}",
            self.records.len(),
            self.without_media(),
            self.count(|record| record["status"] == "failed"),
            self.unfinished(),
            self.callers_twice()
        )?;
        writeln!(
            f,
            "  left in Asterisk: {} channels, {} bridges; calls still active: {}",
            self.channels_left, self.bridges_left, self.active
        )?;
        if let Some(warm) = self.warm {
            writeln!(f, "  the server after {WARM} calls: {warm}")?;
        }
        writeln!(f, "  the server at the end: {}", self.end)?;
        let trouble = &self.trouble;
        write!(
            f,
            "  hung up by others {}, server killed {} and restarted {}, Asterisk killed {}",
            trouble.hung_up, trouble.killed, trouble.restarted, trouble.asterisk_killed
        )?;
        Ok(())
    }
}
