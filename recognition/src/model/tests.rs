use super::*;

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/model/asterscribe-demo-q5_0.bin")
}

fn check_bytes(bytes: &[u8]) -> Result<SpeechModel, ModelError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    SpeechModel::open(file.path())
}

#[test]
fn the_demo_model_is_known_as_what_it_is() {
    let model = SpeechModel::open(&demo()).unwrap();
    assert!(model.is_demo(), "sha256 {}", model.sha256);
    assert_eq!(model.header.n_audio_state, 96);
    let built_in = SpeechModel::demo().unwrap();
    assert_eq!(
        (&built_in.sha256, built_in.header),
        (&model.sha256, model.header)
    );
}

#[test]
fn a_model_cut_off_anywhere_is_refused() {
    let whole = fs::read(demo()).unwrap();
    let step = whole.len() / 64;
    for length in (0..64)
        .map(|k| k * step + k % 7)
        .chain([1, 8, 47, whole.len() - 1])
    {
        assert!(
            check_bytes(&whole[..length]).is_err(),
            "{length} bytes passed"
        );
    }
}

#[test]
fn a_header_that_lies_is_refused() {
    let whole = fs::read(demo()).unwrap();
    for field in 0..11 {
        for value in [0u32, u32::MAX] {
            if field == 10 {
                continue; // ftype only names the file's precision; each tensor carries its own.
            }
            let mut bytes = whole.clone();
            bytes[4 + field * 4..8 + field * 4].copy_from_slice(&value.to_le_bytes());
            let error = check_bytes(&bytes).unwrap_err().to_string();
            assert!(
                error.contains("header says"),
                "field {field} = {value}: {error}"
            );
        }
    }
}

#[test]
fn other_files_are_told_from_models() {
    let error = check_bytes(b"#!/bin/sh\n").unwrap_err().to_string();
    assert!(error.contains("no Whisper model"), "{error}");
    let error = SpeechModel::open(Path::new("/nonexistent/model.bin"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nonexistent/model.bin"), "{error}");
    assert!(SpeechModel::open(Path::new("/")).is_err());
}

#[test]
fn a_vocabulary_without_the_word_that_the_engine_looks_up_is_refused() {
    let mut bytes = fs::read(demo()).unwrap();
    let space = [1, 0, 0, 0, b' '];
    let place = bytes.windows(5).position(|part| part == space).unwrap();
    bytes[place + 4] = b'_';
    let error = check_bytes(&bytes).unwrap_err().to_string();
    assert!(error.contains("single space"), "{error}");
}
