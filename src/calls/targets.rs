//! Where sounds may be sent. A registered source is an address that a client has named: what is sent there
//! must not be a way to reach others through this server.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use url::Url;

use super::{CallManager, MediaThreadHandle};
use crate::config::NetworkList;
use crate::service::ServiceError;

/// The URLs from which sounds may be fetched.
#[derive(Debug, Clone, Default)]
pub struct PlayTargets {
    /// Allowed beside loopback and Asterisk.
    pub networks: NetworkList,
    /// Where Asterisk is.
    pub asterisk: Option<Url>,
}

impl PlayTargets {
    /// Whether sounds may be sent to a registered source.
    async fn allow(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_loopback() || self.networks.contains(ip) || self.is_asterisk(ip).await
    }

    /// Whether an address is Asterisk's. Looked up each time: the name may lead to another address
    /// by now.
    async fn is_asterisk(&self, ip: IpAddr) -> bool {
        let Some(url) = &self.asterisk else {
            return false;
        };
        let port = url.port_or_known_default().unwrap_or(0);
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match tokio::net::lookup_host((host, port)).await {
            Ok(mut found) => found.any(|found| found.ip().to_canonical() == ip),
            Err(error) => {
                tracing::warn!(%url, %error, "cannot find out the address of Asterisk");
                false
            }
        }
    }
}

impl CallManager {
    /// Refuses a source that is a port of this server: it would hear itself.
    pub(super) fn check_source(&self, source: SocketAddr) -> Result<(), ServiceError> {
        if !self.is_own(source) {
            return Ok(());
        }
        let text = format!(
            "source {source} is where this server itself receives RTP; it must be the address that the sender sends from"
        );
        Err(ServiceError::TargetNotAllowed(text))
    }

    /// Refuses to send to a registered source that nobody has allowed.
    pub(super) async fn check_target(&self, target: SocketAddr) -> Result<(), ServiceError> {
        self.check_source(target)?;
        let ip = target.ip().to_canonical();
        if self.config.play_targets.allow(ip).await {
            return Ok(());
        }
        let text = format!(
            "sounds are sent to loopback and to the hosts of ASTERISK_ARI_URL only: to allow {ip}, \
             set PLAY_TARGETS={ip}, or to a network that holds it"
        );
        Err(ServiceError::TargetNotAllowed(text))
    }

    fn is_own(&self, address: SocketAddr) -> bool {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let own = self.media.own_ports.as_ref();
        let of_a_leg = own.is_some_and(|pool| pool.is_leased(port));
        let mut threads = self.media.threads.iter().map(MediaThreadHandle::local);
        let is_bound = threads.any(|local| {
            let host = local.ip().to_canonical();
            (local.port() == port || of_a_leg)
                && (host == ip || host.is_unspecified() && is_here(ip))
        });
        let mut told = self.config.targets.iter();
        is_bound
            || told.any(|told| told.host.to_canonical() == ip && (told.port == port || of_a_leg))
    }
}

/// Whether this machine has the address.
fn is_here(ip: IpAddr) -> bool {
    if ip.is_loopback() || ip.is_unspecified() {
        return true;
    }
    match UdpSocket::bind(SocketAddr::new(ip, 0)) {
        Err(error) => error.kind() != io::ErrorKind::AddrNotAvailable,
        Ok(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn loopback_asterisk_and_what_is_named_may_be_sent_to() {
        let given = [("PLAY_TARGETS", "198.51.100.7, 10.8.0.0/13,2001:db8::/33")];
        let given = std::collections::HashMap::from(given);
        let settings = crate::config::Settings::load(&[&given]).unwrap();
        let targets = PlayTargets {
            networks: settings.play_targets,
            asterisk: Some("http://[::ffff:192.0.2.10]:8088/".parse().unwrap()),
        };
        for allowed in [
            "127.0.0.1",
            "127.8.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "192.0.2.10",
            "198.51.100.7",
            "10.8.0.1",
            "10.15.255.255",
            "::ffff:10.9.1.1",
            "2001:db8:7fff::1",
        ] {
            assert!(targets.allow(ip(allowed)).await, "{allowed}");
        }
        for refused in [
            "192.0.2.11",
            "198.51.100.8",
            "10.7.255.255",
            "10.16.0.0",
            "2001:db8:8000::1",
            "8.8.8.8",
            "255.255.255.255",
        ] {
            assert!(!targets.allow(ip(refused)).await, "{refused}");
            let nobody = PlayTargets::default();
            assert!(!nobody.allow(ip(refused)).await, "{refused}");
        }
    }

    #[test]
    fn addresses_of_this_machine_are_told_from_others() {
        assert!(is_here(ip("127.0.0.1")) && is_here(ip("0.0.0.0")));
        assert!(!is_here(ip("192.0.2.1")));
    }
}
