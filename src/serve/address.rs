//! Address that peers are to send RTP to: found out where the settings leave it open.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::server::StartError;
use crate::config::Settings;
use crate::media::MediaThreadHandle;
use crate::service::RtpTarget;

/// Address and port that peers are to send RTP to, for each media thread. Never an unspecified
/// address.
pub(super) fn advertised(
    settings: &Settings,
    ports: &[MediaThreadHandle],
) -> Result<Vec<RtpTarget>, StartError> {
    let bind = settings.rtp_bind;
    let host = match settings.rtp_advertise {
        Some(advertise) => advertise.ip,
        None if bind.ip().is_unspecified() => {
            derive_host(settings).map_err(|reason| StartError::Advertise { bind, reason })?
        }
        None => bind.ip(),
    };
    let first = settings.rtp_advertise.and_then(|advertise| advertise.port);
    let target = |(n, port): (u16, &MediaThreadHandle)| RtpTarget {
        host,
        // The settings have checked that the last port fits.
        port: first.map_or_else(|| port.local().port(), |first| first + n),
    };
    Ok((0..).zip(ports).map(target).collect())
}

/// The address from which this machine reaches Asterisk; no packet is sent to find out.
fn derive_host(settings: &Settings) -> Result<IpAddr, String> {
    let ari = settings.ari.as_ref();
    let ari = ari.ok_or("no ASTERISK_ARI_URL tells a direction")?;
    let remotes = ari.url.socket_addrs(|| None);
    let remotes = remotes.map_err(|error| format!("{} cannot be resolved ({error})", ari.url))?;
    host_towards(settings.rtp_bind.ip(), &remotes)
        .map_err(|reason| format!("{}: {reason}", ari.url))
}

/// Host part of the advertised address, by the families that the socket receives. A name may have
/// addresses of both families; a socket of `0.0.0.0` receives by one of them only, and one of `::`
/// by its own rather than by the other.
fn host_towards(bind: IpAddr, remotes: &[SocketAddr]) -> Result<IpAddr, String> {
    let (own, other): (Vec<&SocketAddr>, Vec<&SocketAddr>) = remotes
        .iter()
        .partition(|remote| remote.is_ipv4() == bind.is_ipv4());
    let other = other.into_iter().filter(|_| bind.is_ipv6());
    let mut refusals = Vec::new();
    for remote in own.into_iter().chain(other) {
        match local_towards(*remote) {
            Ok(host) => return Ok(host),
            Err(error) => refusals.push(format!("there is no route to {remote} ({error})")),
        }
    }
    if refusals.is_empty() {
        return Err("it has no address that such a socket could receive from".to_owned());
    }
    Err(refusals.join(", "))
}

fn local_towards(remote: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if remote.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let probe = UdpSocket::bind(SocketAddr::new(any, 0))?;
    probe.connect(remote)?;
    Ok(probe.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_addresses_of_both_families_is_reached_by_the_sockets_own() {
        // What resolvers answer for localhost, the wrong family first.
        let both = ["[::1]:8088", "127.0.0.1:8088"].map(|text| text.parse().unwrap());
        let host = host_towards(Ipv4Addr::UNSPECIFIED.into(), &both);
        assert_eq!(host, Ok(Ipv4Addr::LOCALHOST.into()));
        // A socket of both families takes what there is.
        let host = host_towards(Ipv6Addr::UNSPECIFIED.into(), &both[1..]);
        assert_eq!(host, Ok(Ipv4Addr::LOCALHOST.into()));
        let none = host_towards(Ipv4Addr::UNSPECIFIED.into(), &both[..1]);
        assert!(none.is_err_and(|reason| reason.contains("no address")));
    }
}
