//! A name whose meaning changes: connections that are open stay with whom they reached, new ones
//! reach somebody else. So it is when a Redis fails over.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The name. Its threads end with the connections that they serve, or with the tests.
pub(crate) struct Forwarder {
    address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
}

impl Forwarder {
    pub(crate) fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(target));
        let leads_to = Arc::clone(&target);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let target = *leads_to.lock().unwrap();
                if let Ok(server) = TcpStream::connect(target) {
                    join(&client, &server);
                }
            }
        });
        Self { address, target }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where connections lead from now on.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
    }
}

fn join(client: &TcpStream, server: &TcpStream) {
    for (from, to) in [(client, server), (server, client)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        thread::spawn(move || {
            // Whichever side ends, the other does.
            let _ended = io::copy(&mut from, &mut to);
            let _gone = to.shutdown(Shutdown::Both);
            let _gone = from.shutdown(Shutdown::Both);
        });
    }
}
