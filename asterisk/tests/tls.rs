//! The client before servers with certificates of several kinds, made by openssl.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use asterscribe_ari::client::{AriClient, ClientConfig, ClientError};
use asterscribe_ari::control::RequestFailure;
use asterscribe_ari::request::AriRequest;

/// A CA's certificate and key, as `ast_tls_cert` makes them.
const CA: &str = "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 365 -subj /CN=Private_CA -addext basicConstraints=CA:TRUE";
/// The two lines of `deploy/asterisk/README.md`, for this machine.
const VERSION_3: [&str; 2] = [
    "req -new -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout asterisk.key -out asterisk.csr",
    "x509 -req -in asterisk.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -copy_extensions copy -out asterisk.crt",
];
/// As `ast_tls_cert` makes a server's.
const VERSION_1: [&str; 2] = [
    "req -new -newkey rsa:2048 -nodes -subj /CN=localhost -keyout asterisk.key -out asterisk.csr",
    "x509 -req -days 365 -in asterisk.csr -CA ca.crt -CAkey ca.key -set_serial 01 -out asterisk.crt",
];
/// Of version 3, for another name.
const ANOTHER_NAME: [&str; 2] = [
    "req -new -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:pbx.example.org -keyout asterisk.key -out asterisk.csr",
    VERSION_3[1],
];

fn openssl(folder: &Path, line: &str) {
    let done = Command::new("openssl")
        .args(line.split(' '))
        .current_dir(folder)
        .output()
        .expect("openssl is there");
    assert!(done.status.success(), "{line}: {done:?}");
}

/// A server that says something of its own over HTTPS.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(folder: &Path, lines: [&str; 2]) -> Self {
        openssl(folder, CA);
        for line in lines {
            openssl(folder, line);
        }
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-www"])
            .args(["-cert", "asterisk.crt", "-key", "asterisk.key"])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let mut said = said.lines().map_while(Result::ok);
        let port = said
            .find_map(|line| Some(line.strip_prefix("ACCEPT ")?.rsplit_once(':')?.1.to_owned()));
        let url = format!("https://localhost:{}", port.expect("it listens"));
        Self { process, url }
    }

    async fn ask(&self, authorities: Option<Vec<u8>>) -> RequestFailure {
        let config = ClientConfig {
            authorities,
            ..ClientConfig::new(self.url.as_str(), "u", "p")
        };
        let client = AriClient::new(&config).unwrap();
        client.execute(&AriRequest::Ping).await.unwrap_err()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn folder(name: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[tokio::test]
async fn a_certificate_of_a_private_ca_is_believed_once_the_ca_is_named() {
    let folder = folder("version-3");
    let server = Server::start(&folder, VERSION_3);
    let failure = server.ask(None).await.to_string();
    assert!(failure.contains("ASTERISK_CA_FILE"), "{failure}");
    let ca = fs::read(folder.join("ca.crt")).unwrap();
    // It was spoken to, and what it says is no ARI.
    let failure = server.ask(Some(ca)).await;
    assert_eq!(failure.status(), Some(200), "{failure}");
}

#[tokio::test]
async fn a_certificate_of_version_1_is_named_as_what_it_is() {
    let folder = folder("version-1");
    let server = Server::start(&folder, VERSION_1);
    let ca = fs::read(folder.join("ca.crt")).unwrap();
    for authorities in [None, Some(ca)] {
        let failure = server.ask(authorities).await.to_string();
        for said in ["version 1", "no subjectAltName", "openssl"] {
            assert!(failure.contains(said), "{failure}");
        }
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_says_for_which() {
    let folder = folder("another-name");
    let server = Server::start(&folder, ANOTHER_NAME);
    let ca = fs::read(folder.join("ca.crt")).unwrap();
    let failure = server.ask(Some(ca)).await.to_string();
    assert!(failure.contains("pbx.example.org"), "{failure}");
}

#[test]
fn a_file_that_is_no_ca_is_refused() {
    let config = ClientConfig {
        authorities: Some(b"not one".to_vec()),
        ..ClientConfig::new("https://localhost", "u", "p")
    };
    assert!(matches!(
        AriClient::new(&config),
        Err(ClientError::Authority(_))
    ));
}
