//! Calls, and a receiver for each of their flows.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use asterscribe_testkit::asterisk::{Events, Instance};
use asterscribe_testkit::pcap::Packet;
use asterscribe_testkit::{Error, Result, host};

use crate::Recipe;

/// Packets received of one leg.
pub(crate) struct Heard {
    pub(crate) leg: &'static str,
    pub(crate) packets: Vec<Packet>,
}

const APP: &str = "capture";
const SETUP: Duration = Duration::from_secs(10);
/// Longest time for a call; the longest scenario lasts half of it.
const CALL: Duration = Duration::from_secs(90);

/// The caller's channel is in the application, bridged with external media.
pub(crate) fn stasis(instance: &Instance, recipe: &Recipe) -> Result<Vec<Heard>> {
    let events = instance.events(APP)?;
    let ear = Ear::open()?;
    let call = [
        ("endpoint", "Local/talk@kit/n"),
        ("app", APP),
        ("channelId", "call"),
        ("formats", recipe.format),
    ];
    instance.ari_ok("POST", "/channels", &call, None)?;
    events.wait_for_channel("StasisStart", "call", SETUP)?;
    external_media(instance, &events, recipe, "call", &ear)?;
    events.wait_for_channel("StasisEnd", "call", CALL)?;
    remove_media(instance, "call")?;
    Ok(vec![Heard {
        leg: "caller",
        packets: ear.close()?,
    }])
}

/// Two parties talk through the dialplan; the caller's channel is spied on in both directions.
pub(crate) fn snoop_pair(instance: &Instance, recipe: &Recipe) -> Result<Vec<Heard>> {
    let events = instance.events(APP)?;
    let legs = [
        ("caller", "in", Ear::open()?),
        ("callee", "out", Ear::open()?),
    ];
    let call = [
        ("endpoint", "Local/caller@kit/n"),
        ("context", "kit"),
        ("extension", "dial-callee"),
        ("priority", "1"),
        ("channelId", "call"),
        ("formats", "ulaw"),
    ];
    instance.ari_ok("POST", "/channels", &call, None)?;
    let bridged = || {
        instance
            .ari("GET", "/bridges", &[], None)
            .is_ok_and(|(_, list)| {
                list[0]["channels"]
                    .as_array()
                    .is_some_and(|members| members.len() == 2)
            })
    };
    if !host::wait_until(host::now() + SETUP, bridged) {
        return Err(Error::Failed(format!(
            "the parties were not connected: {}",
            instance.cli("core show channels")?
        )));
    }
    for (leg, direction, ear) in &legs {
        let snoop = format!("snoop-{leg}");
        let query = [("app", APP), ("spy", *direction)];
        instance.ari_ok(
            "POST",
            &format!("/channels/call/snoop/{snoop}"),
            &query,
            None,
        )?;
        events.wait_for_channel("StasisStart", &snoop, SETUP)?;
        external_media(instance, &events, recipe, &snoop, ear)?;
    }
    let over = || {
        instance
            .ari("GET", "/channels/call", &[], None)
            .is_ok_and(|(status, _)| status == 404)
    };
    if !host::wait_until(host::now() + CALL, over) {
        return Err(Error::Failed("the caller never hung up".to_owned()));
    }
    for (leg, ..) in &legs {
        remove_media(instance, &format!("snoop-{leg}"))?;
    }
    legs.into_iter()
        .map(|(leg, _, ear)| {
            Ok(Heard {
                leg,
                packets: ear.close()?,
            })
        })
        .collect()
}

/// Puts `channel` and external media to `ear` into a bridge of their own.
fn external_media(
    instance: &Instance,
    events: &Events,
    recipe: &Recipe,
    channel: &str,
    ear: &Ear,
) -> Result<()> {
    let (media, bridge) = (format!("media-{channel}"), format!("bridge-{channel}"));
    instance.ari_ok(
        "POST",
        "/bridges",
        &[("type", "mixing"), ("bridgeId", &bridge)],
        None,
    )?;
    let host = ear.address.to_string();
    let query = [
        ("app", APP),
        ("external_host", &*host),
        ("format", recipe.format),
        ("channelId", &media),
    ];
    instance.ari_ok("POST", "/channels/externalMedia", &query, None)?;
    // Earlier it is refused now and then: the channel is not in the application yet.
    events.wait_for_channel("StasisStart", &media, SETUP)?;
    let members = format!("{channel},{media}");
    instance.ari_ok(
        "POST",
        &format!("/bridges/{bridge}/addChannel"),
        &[("channel", &members)],
        None,
    )?;
    Ok(())
}

/// Asterisk leaves both in place when the call is over.
fn remove_media(instance: &Instance, channel: &str) -> Result<()> {
    instance.ari_ok("DELETE", &format!("/channels/media-{channel}"), &[], None)?;
    instance.ari_ok("DELETE", &format!("/bridges/bridge-{channel}"), &[], None)?;
    Ok(())
}

/// A UDP socket whose datagrams are noted with their time of arrival.
struct Ear {
    address: SocketAddr,
    closing: Arc<AtomicBool>,
    listener: JoinHandle<io::Result<Vec<Packet>>>,
}

impl Ear {
    fn open() -> Result<Self> {
        let failed = |error| Error::Failed(format!("cannot listen for RTP: {error}"));
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        // How long closing may take; datagrams themselves end the wait at once.
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let closing = Arc::new(AtomicBool::new(false));
        let listener = thread::spawn({
            let closing = Arc::clone(&closing);
            move || listen(&socket, &closing)
        });
        Ok(Self {
            address,
            closing,
            listener,
        })
    }

    fn close(self) -> Result<Vec<Packet>> {
        self.closing.store(true, Ordering::Relaxed);
        let outcome = self
            .listener
            .join()
            .map_err(|_| Error::Failed("the listener panicked".to_owned()))?;
        outcome.map_err(|error| Error::Failed(format!("cannot receive RTP: {error}")))
    }
}

fn listen(socket: &UdpSocket, closing: &AtomicBool) -> io::Result<Vec<Packet>> {
    let SocketAddr::V4(destination) = socket.local_addr()? else {
        unreachable!("bound to an IPv4 address")
    };
    let mut packets = Vec::new();
    let mut buffer = [0; 2048];
    while !closing.load(Ordering::Relaxed) {
        match socket.recv_from(&mut buffer) {
            Ok((length, SocketAddr::V4(source))) => {
                packets.push(Packet {
                    at: host::since_epoch(),
                    source,
                    destination,
                    payload: buffer[..length].to_vec(),
                });
            }
            Ok((_, SocketAddr::V6(_))) => unreachable!("an IPv4 socket hears IPv4 only"),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(packets)
}
