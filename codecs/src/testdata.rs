//! The vectors in `codecs/testdata`, for tests.

use std::path::Path;

/// A file's octets.
pub(crate) fn octets(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    std::fs::read(folder.join(name)).unwrap()
}

/// A file's samples.
pub(crate) fn samples(name: &str) -> Vec<i16> {
    let octets = octets(name);
    let pairs = octets.as_chunks::<2>().0;
    pairs.iter().map(|&pair| i16::from_le_bytes(pair)).collect()
}
