//! Servers that models are fetched from, and that do as they are told.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use asterscribe::models::{PullError, PullOutcome, WantedFolder, pull_folder};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::recognition::model_folder::{Files, small};

/// Sends an answer to a request.
pub(crate) type Answer = Box<dyn FnOnce(&mut TcpStream) + Send>;

/// A web server that gives each request the next of its answers.
pub(crate) struct Mirror {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Mirror {
    pub(crate) fn with(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heads = Arc::clone(&asked);
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                heads.lock().unwrap().push(head(&mut stream));
                answer(&mut stream);
            }
        });
        Self { address, asked }
    }

    /// The heads of the requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Repository of a [`Hub`], `OWNER/NAME`.
pub(crate) const REPOSITORY: &str = "Systran/faster-whisper-tiny.en";

/// A Hugging Face hub with one repository, which is right unless it is told otherwise.
pub(crate) struct Hub {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<Published>>,
}

/// Contents of a hub, and the requests to it.
struct Published {
    files: Files,
    commit: String,
    asked: Vec<String>,
    /// Answers that come once in place of the right one, each by how the path ends.
    instead: Vec<(String, Answer)>,
}

impl Hub {
    pub(crate) fn with(files: Files) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(Published {
            files,
            commit: "1".repeat(40),
            asked: Vec::new(),
            instead: Vec::new(),
        }));
        let published = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let answer = published.lock().unwrap().answer(&head(&mut stream));
                answer(&mut stream);
            }
        });
        Self { address, state }
    }

    /// Gives that answer once to a path that ends so.
    pub(crate) fn once(&self, end: &str, answer: Answer) {
        let mut state = self.state.lock().unwrap();
        state.instead.push((end.to_owned(), answer));
    }

    /// Gives the right answers from now on.
    pub(crate) fn forget(&self) {
        self.state.lock().unwrap().instead.clear();
    }

    /// Publishes another commit.
    pub(crate) fn publish(&self, commit: &str, files: Files) {
        let mut state = self.state.lock().unwrap();
        (state.commit, state.files) = (commit.to_owned(), files);
    }

    /// Requests since the last time: the last part of each path, and the byte from which.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// The list of files, as the hub gives it.
    pub(crate) fn tree(&self) -> Vec<Value> {
        self.state.lock().unwrap().tree()
    }
}

impl Published {
    fn answer(&mut self, head: &str) -> Answer {
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let from = head.split("\r\nrange: bytes=").nth(1);
        let from = from.map(|rest| rest.split('-').next().unwrap().parse().unwrap());
        let name = path.rsplit('/').next().unwrap();
        self.asked.push(match from {
            Some(from) => format!("{name} from {from}"),
            None => name.to_owned(),
        });
        let told = self.instead.iter().position(|(end, _)| path.ends_with(end));
        if let Some(told) = told {
            return self.instead.remove(told).1;
        }
        let (commit, repository) = (&self.commit, REPOSITORY.to_ascii_lowercase());
        let api = format!("/api/models/{repository}");
        if path == format!("{api}/revision/main") {
            return json_answer(&json!({"id": REPOSITORY, "sha": commit, "tags": []}));
        }
        if path == format!("{api}/tree/{commit}") {
            return json_answer(&Value::from(self.tree()));
        }
        let file = path.strip_prefix(&format!("/{repository}/resolve/{commit}/"));
        match (file.and_then(|name| self.files.get(name)), from) {
            (Some(content), None) => whole(content, &sha256(content)),
            (Some(content), Some(from)) => rest(content, from, &sha256(content)),
            (None, _) => answer("404 Not Found\r\nContent-Length: 0", b""),
        }
    }

    /// List of files: the weights by Git LFS, all else by Git; and a folder, and a file that no
    /// engine reads.
    fn tree(&self) -> Vec<Value> {
        let aside = [
            json!({"type": "directory", "path": "onnx", "size": 0, "oid": "0".repeat(40)}),
            entry("README.md", b"# Whisper"),
            entry("preprocessor_config.json", b"{}"),
        ];
        let files = self.files.iter();
        let files = files.map(|(name, content)| entry(name, content));
        aside.into_iter().chain(files).collect()
    }
}

/// A file as the hub lists it.
fn entry(name: &str, content: &[u8]) -> Value {
    let size = content.len();
    let mut blob = Sha1::new();
    blob.update(format!("blob {size}\0"));
    blob.update(content);
    let oid = hex(&blob.finalize());
    let mut entry = json!({"type": "file", "path": name, "size": size, "oid": oid});
    if name == "model.bin" {
        entry["lfs"] = json!({"oid": sha256(content), "size": size, "pointerSize": 134});
    }
    entry
}

pub(crate) fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn json_answer(value: &Value) -> Answer {
    whole(value.to_string().as_bytes(), "of this list")
}

fn head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

/// A status and headers, then these bytes, then the end of the connection.
pub(crate) fn answer(head: impl Into<String>, body: &[u8]) -> Answer {
    let (head, body) = (head.into(), body.to_vec());
    Box::new(move |stream| {
        // Whoever has heard enough may have closed.
        let _unheard = write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
        let _unheard = stream.write_all(&body);
    })
}

pub(crate) fn whole(body: &[u8], tag: &str) -> Answer {
    let length = body.len();
    let head = format!("200 OK\r\nContent-Length: {length}\r\nETag: \"{tag}\"");
    answer(head, body)
}

/// An answer with the first half of what it announces.
pub(crate) fn cut(body: &[u8], tag: &str) -> Answer {
    let length = body.len();
    let head = format!("200 OK\r\nContent-Length: {length}\r\nETag: \"{tag}\"");
    answer(head, &body[..length / 2])
}

pub(crate) fn rest(body: &[u8], from: usize, tag: &str) -> Answer {
    let (length, last) = (body.len() - from, body.len() - 1);
    let total = body.len();
    let head = format!(
        "206 Partial Content\r\nContent-Length: {length}\r\nContent-Range: bytes {from}-{last}/{total}\r\nETag: \"{tag}\""
    );
    answer(head, &body[from..])
}

pub(crate) fn chunked(body: &[u8]) -> Answer {
    let mut framed = format!("{:x}\r\n", body.len()).into_bytes();
    framed.extend(body);
    framed.extend(b"\r\n0\r\n\r\n");
    answer("200 OK\r\nTransfer-Encoding: chunked", &framed)
}

pub(crate) const NAME: &str = "faster-whisper-tiny.en";

/// Names of the files that a folder consists of.
pub(crate) const WHOLE: [&str; 4] = [
    "config.json",
    "model.bin",
    "tokenizer.json",
    "vocabulary.txt",
];

/// A hub, and a folder of models that does not exist yet.
pub(crate) struct Rig {
    pub(crate) hub: Hub,
    pub(crate) files: Files,
    home: TempDir,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let files = small();
        Self {
            hub: Hub::with(files.clone()),
            files,
            home: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn models(&self) -> PathBuf {
        self.home.path().join("models")
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.models().join(NAME)
    }

    pub(crate) fn part(&self) -> PathBuf {
        self.models().join(format!("{NAME}.part"))
    }

    pub(crate) fn fetch(&self) -> Result<PullOutcome, PullError> {
        let wanted = WantedFolder {
            hub: format!("http://{}/", self.hub.address).parse().unwrap(),
            repository: REPOSITORY.to_owned(),
            path: self.folder(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(pull_folder(&wanted, &mut |done, total| {
            assert!(total.is_none_or(|total| done <= total));
        }))
    }

    /// Checks that the folder is not fetched and nothing has its name; the result is the text of
    /// the failure.
    #[track_caller]
    pub(crate) fn refused(&self) -> String {
        let error = self.fetch().expect_err("it was fetched");
        assert!(!self.folder().exists());
        error.to_string()
    }

    #[track_caller]
    pub(crate) fn assert_fetched(&self) {
        self.assert_fetched_at(&"1".repeat(40), &self.files);
    }

    /// Checks that the folder is fetched, and holds these files and nothing else.
    #[track_caller]
    pub(crate) fn assert_fetched_at(&self, at: &str, files: &Files) {
        let pulled = self.fetch();
        let Ok(PullOutcome::FetchedFrom { model, commit }) = &pulled else {
            panic!("{pulled:?}");
        };
        assert_eq!((model.name.as_str(), commit.as_str()), (NAME, at));
        assert!(content(&self.folder()) == *files);
        assert_eq!(names(&self.models()), [NAME]);
    }

    /// The list of files with something of one of them changed.
    pub(crate) fn tree_with(&self, name: &str, change: impl Fn(&mut Value)) -> Answer {
        let mut tree = self.hub.tree();
        let entry = tree.iter_mut().find(|entry| entry["path"] == name);
        change(entry.unwrap());
        json_answer(&Value::from(tree))
    }
}

pub(crate) fn content(folder: &Path) -> Files {
    let names = names(folder);
    let content = |name: String| {
        let content = fs::read(folder.join(&name)).unwrap();
        (name, content)
    };
    names.into_iter().map(content).collect()
}

/// Names in a folder; none if it does not exist.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

pub(crate) fn status(line: &str) -> Answer {
    answer(format!("{line}\r\nContent-Length: 0"), b"")
}

/// An answer with `after` bytes of what it announces.
pub(crate) fn broken_off(content: &[u8], after: usize) -> Answer {
    let (length, tag) = (content.len(), sha256(content));
    let head = format!("200 OK\r\nContent-Length: {length}\r\nETag: \"{tag}\"");
    answer(head, &content[..after])
}
