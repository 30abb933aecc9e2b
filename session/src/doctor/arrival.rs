//! Findings on arrival: whether packets come, and from where.

use std::net::SocketAddr;
use std::time::Duration;

use asterscribe_call::FindingKind;

use super::findings::FindingsLog;
use super::{ArrivalExpectation, ExpectedMedia};

/// Longest time without a packet that is not yet a finding.
const PATIENCE: Duration = Duration::from_secs(2);

/// Time after the naming of a leg's source in which packets from elsewhere are ignored: until then
/// one may be the leg's own that overtook its naming.
const SETTLED: Duration = Duration::from_secs(1);

/// Time without packets after which an unnamed source is forgotten.
const STRANGER_GONE: Duration = Duration::from_secs(3);

/// Packets from an unnamed source from which on they are no stray ones.
const STRANGER_PACKETS: u64 = 5;

/// Time without drops of the kernel after which that finding ends.
const DROPS_OVER: Duration = Duration::from_secs(5);

const NO_RTP_FIX: &str = "RTP does not reach this server. See that the address which the sender was told (RTP_ADVERTISE, \
else RTP_BIND) is one that it can reach, that firewalls let its UDP port through, and that a container has the port published or uses \
the host's network. Asterisk also sends nothing to a channel that is not bridged, alone in its bridge, or bridged to one that is silent.";

const BROKEN_OFF_FIX: &str = "This flow comes without pauses as long as it lives. See in Asterisk whether the snoop channel, its external media \
and their bridge are still there, and whether something on the way to this server stopped letting UDP through.";

const STRANGER_FIX: &str = "The sender is not where it was said to be: another address or port of its host, or NAT on the way. Packets are taken \
from the named source only, so name the address and port from which they come (`source` of the registration; for Asterisk the address that it \
tells as UNICASTRTP_LOCAL_ADDRESS).";

const DROPS_FIX: &str = "This server did not read its socket in time. Raise net.core.rmem_max to at least 8 MiB, give the server more CPU, or spread \
calls over more sockets (RTP_THREADS).";

#[derive(Debug)]
pub(super) struct ArrivalProbe {
    promised: ArrivalExpectation,
    named: Duration,
    last: Option<Duration>,
    packets: u64,
    /// Datagrams from the leg's source that were no packets of its stream.
    refused: u64,
    /// Time of the last report of an unnamed source.
    stranger: Option<Duration>,
    drops: Option<DropProbe>,
}

#[derive(Debug, Clone, Copy)]
struct DropProbe {
    since: Duration,
    last: Duration,
    count: u64,
}

impl ArrivalProbe {
    pub(super) fn new(named: Duration, expected: ExpectedMedia) -> Self {
        Self {
            promised: expected.arrival,
            named,
            last: None,
            packets: 0,
            refused: 0,
            stranger: None,
            drops: None,
        }
    }

    /// The leg's source is named, or another one. Findings that last end as they would have.
    pub(super) fn expect(&mut self, at: Duration, expected: ExpectedMedia) {
        *self = Self {
            stranger: self.stranger,
            drops: self.drops,
            ..Self::new(at, expected)
        };
    }

    pub(super) fn packet(&mut self, at: Duration, chart: &mut FindingsLog) {
        self.last = Some(at);
        self.packets += 1;
        if chart.any_lasts(&[FindingKind::NoRtp, FindingKind::UnexpectedSource]) {
            chart.end(FindingKind::NoRtp, at);
            chart.end(FindingKind::UnexpectedSource, at);
            self.stranger = None;
        }
    }

    /// See [`CallSession::glance`](crate::CallSession::glance).
    pub(super) fn glance(&self) -> u64 {
        self.packets ^ u64::from(self.drops.is_some())
    }

    pub(super) fn refused(&mut self) {
        self.refused += 1;
    }

    pub(super) fn is_unheard(&self) -> bool {
        self.last.is_none()
    }

    pub(super) fn elsewhere(
        &mut self,
        at: Duration,
        from: SocketAddr,
        named: SocketAddr,
        packets: u64,
        chart: &mut FindingsLog,
    ) {
        if self.last.is_some() || at < self.named + SETTLED || packets < STRANGER_PACKETS {
            return;
        }
        self.stranger = Some(at);
        let evidence = format!(
            "{packets} RTP packets from {from} within half a second, none from {named}, which was named"
        );
        chart.begin(FindingKind::UnexpectedSource, at, evidence, STRANGER_FIX);
    }

    pub(super) fn kernel_drops(&mut self, at: Duration, count: u64, chart: &mut FindingsLog) {
        if count == 0 {
            return;
        }
        let drops = self.drops.get_or_insert(DropProbe {
            since: at,
            last: at,
            count: 0,
        });
        drops.last = at;
        drops.count += count;
        let evidence = match (at - drops.since).as_secs() {
            0 => format!(
                "the kernel dropped {} datagrams of the socket of this leg",
                drops.count
            ),
            seconds => format!(
                "the kernel dropped {} datagrams within {seconds} s of the socket of this leg",
                drops.count
            ),
        };
        let since = drops.since;
        if chart.lasts(FindingKind::KernelDrops) {
            chart.amend(FindingKind::KernelDrops, evidence, DROPS_FIX);
        } else {
            chart.begin(FindingKind::KernelDrops, since, evidence, DROPS_FIX);
        }
    }

    pub(super) fn deadline(&self, chart: &FindingsLog) -> Option<Duration> {
        let missed = self
            .missed_at()
            .filter(|_| !chart.lasts(FindingKind::NoRtp));
        let stranger = self.stranger.map(|last| last + STRANGER_GONE);
        let drops = self.drops.map(|drops| drops.last + DROPS_OVER);
        [missed, stranger, drops].into_iter().flatten().min()
    }

    pub(super) fn tick(&mut self, at: Duration, chart: &mut FindingsLog) {
        if let Some(due) = self.missed_at()
            && due <= at
            && !chart.lasts(FindingKind::NoRtp)
        {
            self.report_missing(due, at, chart);
        }
        if let Some(last) = self.stranger
            && last + STRANGER_GONE <= at
        {
            self.stranger = None;
            chart.end(FindingKind::UnexpectedSource, last);
        }
        if let Some(drops) = self.drops
            && drops.last + DROPS_OVER <= at
        {
            self.drops = None;
            chart.end(FindingKind::KernelDrops, drops.last);
        }
    }

    /// Time at which the absence of packets becomes a finding, if it ever does.
    fn missed_at(&self) -> Option<Duration> {
        match (self.promised, self.last) {
            (ArrivalExpectation::Unknown, _) | (ArrivalExpectation::WithPauses, Some(_)) => None,
            (ArrivalExpectation::WithPauses | ArrivalExpectation::Continuous, None) => {
                Some(self.named + PATIENCE)
            }
            (ArrivalExpectation::Continuous, Some(last)) => Some(last + PATIENCE),
        }
    }

    fn report_missing(&self, due: Duration, at: Duration, chart: &mut FindingsLog) {
        let since = due - PATIENCE;
        let seconds = (at - since).as_secs_f32();
        let refused = match self.refused {
            0 => String::new(),
            count => format!("; {count} datagrams from the source are no packets of its stream"),
        };
        let (evidence, fix) = match self.packets {
            0 => (format!("0 packets in {seconds:.1} s{refused}"), NO_RTP_FIX),
            before => (
                format!("0 packets in {seconds:.1} s, after {before} before{refused}"),
                BROKEN_OFF_FIX,
            ),
        };
        chart.begin(FindingKind::NoRtp, since, evidence, fix);
    }
}
