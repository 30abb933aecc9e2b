//! Receivers to be measured: this program's media plane, and those that it is compared with.

use std::env;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use asterscribe_clock as clock;
use serde::Serialize;

use super::part::BenchPart;
use super::proc;
use super::wire::{PartMessage, ReceivedCount, SentCount};

/// Time for a receiver to come up, and to say what it received.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two looks at whether GStreamer has bound its sockets, or read them empty.
const LOOK: Duration = Duration::from_millis(20);

/// Program in Python that receives RTP as programs of the field do, and does no more.
const PYTHON: &str = include_str!("receiver.py");

/// The receiver that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ReceiverSubject {
    /// Batched reads of the same socket at the same tick, and a count.
    Sink,
    /// Our media plane as far as the ordered, accounted packets.
    Ordered,
    /// Our media plane up to recognition.
    Speech,
    /// Python's asyncio with one socket for all flows.
    PythonShared,
    /// Python's asyncio with a socket for each flow.
    PythonEach,
    /// GStreamer with a socket and a pipeline for each flow.
    Gstreamer,
}

impl ReceiverSubject {
    /// Name in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sink => "bare sink",
            Self::Ordered => "server, ordered packets",
            Self::Speech => "server, whole path",
            Self::PythonShared => "Python asyncio, one socket",
            Self::PythonEach => "Python asyncio, a socket per call",
            Self::Gstreamer => "GStreamer, a pipeline per call",
        }
    }

    /// Reason why the receiver cannot run here, if it cannot.
    pub(super) fn missing(self) -> Option<String> {
        match self {
            Self::PythonShared | Self::PythonEach => {
                (!runs("python3", &["-c", "import asyncio"])).then(|| "no python3 here".to_owned())
            }
            Self::Gstreamer => ["udpsrc", "rtpjitterbuffer", "rtppcmudepay", "fakesink"]
                .into_iter()
                .find(|element| !runs("gst-inspect-1.0", &[element]))
                .map(|element| {
                    format!("no GStreamer element {element} here; tools/setup.sh bench installs it")
                }),
            _ => None,
        }
    }
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A receiver that knows its flows.
#[derive(Debug)]
pub(super) struct RunningReceiver {
    part: BenchPart,
    /// Where the flows are to be sent.
    pub(super) targets: Vec<u16>,
    /// Resident memory before it knew of any flow, and with all flows but without a packet; bytes.
    pub(super) empty: u64,
    pub(super) opened: u64,
    /// Datagrams that had been read in this namespace before; set for those that do not count themselves.
    read_before: Option<u64>,
}

impl RunningReceiver {
    /// Starts `subject` on `cpu` for flows from `sources`.
    pub(super) fn start(
        subject: ReceiverSubject,
        sources: &[u16],
        cpu: Option<usize>,
    ) -> Result<Self> {
        if subject == ReceiverSubject::Gstreamer {
            return gstreamer(sources.len(), cpu);
        }
        let mut part = BenchPart::start(subject.name(), command(subject)?, cpu)?;
        let PartMessage::Ready = part.hear(PATIENCE)? else {
            bail!("expected the {} to be ready", subject.name());
        };
        let empty = proc::memory(part.pid())?.resident;
        part.say(&PartMessage::Sources(sources.to_vec()))?;
        let PartMessage::Targets(targets) = part.hear(PATIENCE)? else {
            bail!("expected the ports of the {}", subject.name());
        };
        let opened = proc::memory(part.pid())?.resident;
        Ok(Self {
            part,
            targets,
            empty,
            opened,
            read_before: None,
        })
    }

    /// Process id of the receiver.
    pub(super) fn pid(&self) -> u32 {
        self.part.pid()
    }

    /// Datagrams that the kernel has dropped at its sockets.
    pub(super) fn kernel_drops(&self) -> Result<u64> {
        let sockets = proc::sockets()?;
        let of_port = |port| sockets.get(port).context("a receiver's socket is gone");
        self.targets
            .iter()
            .map(|port| Ok(of_port(port)?.drops))
            .sum()
    }

    /// Tells the receiver what was sent; the result is what it received.
    pub(super) fn finish(mut self, sent: &SentCount) -> Result<ReceivedCount> {
        if let Some(before) = self.read_before {
            self.await_empty()?;
            return Ok(ReceivedCount {
                datagrams: proc::udp()?.read.saturating_sub(before),
                ..ReceivedCount::default()
            });
        }
        self.part.say(&PartMessage::Sent(sent.clone()))?;
        match self.part.hear(PATIENCE)? {
            PartMessage::Received(received) => Ok(received),
            other => bail!("expected what was received, not {other:?}"),
        }
    }

    /// Waits until nothing is left in the receiver's sockets.
    fn await_empty(&self) -> Result<()> {
        let late = clock::now() + PATIENCE;
        while clock::now() < late {
            let sockets = proc::sockets()?;
            let waits = |port| sockets.get(port).is_some_and(|socket| socket.waiting > 0);
            if !self.targets.iter().any(waits) {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
        bail!("a receiver does not read its sockets empty")
    }
}

fn command(subject: ReceiverSubject) -> Result<Command> {
    let ours = env::current_exe()?;
    let (program, arguments) = match subject {
        ReceiverSubject::Sink => (ours, vec!["sink"]),
        ReceiverSubject::Ordered => (ours, vec!["serve", "--ordered"]),
        ReceiverSubject::Speech => (ours, vec!["serve"]),
        ReceiverSubject::PythonShared => ("python3".into(), vec!["-c", PYTHON, "shared"]),
        ReceiverSubject::PythonEach => ("python3".into(), vec!["-c", PYTHON, "each"]),
        ReceiverSubject::Gstreamer => bail!("GStreamer has a command line for each set of ports"),
    };
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// `udpsrc ! rtpjitterbuffer ! rtppcmudepay ! fakesink` for each flow, all in one process.
fn gstreamer(flows: usize, cpu: Option<usize>) -> Result<RunningReceiver> {
    const CAPS: &str =
        "caps=application/x-rtp,media=audio,clock-rate=8000,encoding-name=PCMU,payload=0";
    let targets = free_ports(flows)?;
    // It does not end by itself when we do.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "gst-launch-1.0", "--quiet"])
        .stderr(Stdio::null());
    for port in &targets {
        command
            .args(["udpsrc", "address=127.0.0.1", &format!("port={port}")])
            .args(["buffer-size=8388608", CAPS])
            .args(["!", "rtpjitterbuffer", "!", "rtppcmudepay", "!"])
            .args(["fakesink", "sync=false"]);
    }
    let part = BenchPart::start(ReceiverSubject::Gstreamer.name(), command, cpu)?;
    let late = clock::now() + PATIENCE;
    loop {
        let sockets = proc::sockets()?;
        if targets.iter().all(|port| sockets.contains_key(port)) {
            break;
        }
        if clock::now() >= late {
            bail!("GStreamer has not bound its sockets");
        }
        thread::sleep(LOOK);
    }
    let resident = proc::memory(part.pid())?.resident;
    Ok(RunningReceiver {
        part,
        targets,
        empty: resident,
        opened: resident,
        read_before: Some(proc::udp()?.read),
    })
}

/// Ports that were free a moment ago.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let sockets = (0..count)
        .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<Vec<_>, _>>()?;
    sockets
        .iter()
        .map(|socket| Ok(socket.local_addr()?.port()))
        .collect()
}
