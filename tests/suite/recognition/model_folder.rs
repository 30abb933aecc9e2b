//! The smallest folder that has the structure of a CTranslate2 model: right in form, and
//! without any sense.

use std::collections::BTreeMap;

/// Words of a model that knows English only.
const WORDS: usize = 51_864;

/// Width of its layers.
const WIDTH: u32 = 32;

/// Files by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The four files that the server reads; some 4 MB.
pub(crate) fn small() -> Files {
    let words = words();
    let ids: BTreeMap<_, _> = words.iter().take(256).zip(0u32..).collect();
    let tokenizer = serde_json::json!({"model": {"vocab": ids}});
    let config = serde_json::json!({
        "alignment_heads": [[0, 0]], "suppress_ids": [1], "suppress_ids_begin": [2],
    });
    let files = [
        ("config.json", config.to_string().into_bytes()),
        ("tokenizer.json", tokenizer.to_string().into_bytes()),
        ("vocabulary.txt", words.join("\n").into_bytes()),
        ("model.bin", weights()),
    ];
    let files = files.map(|(name, content)| (name.to_owned(), content));
    files.into_iter().collect()
}

/// A word for every byte in GPT-2's alphabet, then Whisper's marks.
fn words() -> Vec<String> {
    let mut beyond = (0x100u32..).map_while(char::from_u32);
    let mut letter = |byte: u8| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => Some(char::from(byte)),
        _ => beyond.next(),
    };
    let letters = (0..=u8::MAX).filter_map(&mut letter).map(String::from);
    let marks = ["<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>"];
    let marks = marks.map(str::to_owned);
    let rest = (0..).map(|n| format!("<|{n}|>"));
    letters.chain(marks).chain(rest).take(WORDS).collect()
}

/// `model.bin` as CTranslate2's `model_spec.py` writes it: one layer on each side.
fn weights() -> Vec<u8> {
    let mut variables = Variables::default();
    for side in ["encoder", "decoder"] {
        variables.number(&format!("{side}/num_heads"), 1);
        variables.norm(&format!("{side}/layer_norm"));
        let layer = format!("{side}/layer_0");
        variables.norm(&format!("{layer}/self_attention/layer_norm"));
        variables.linear(&format!("{layer}/self_attention/linear_0"), 3, 1);
        variables.linear(&format!("{layer}/self_attention/linear_1"), 1, 1);
        variables.norm(&format!("{layer}/ffn/layer_norm"));
        variables.linear(&format!("{layer}/ffn/linear_0"), 4, 1);
        variables.linear(&format!("{layer}/ffn/linear_1"), 1, 4);
    }
    let attention = "decoder/layer_0/attention";
    variables.norm(&format!("{attention}/layer_norm"));
    variables.linear(&format!("{attention}/linear_0"), 1, 1);
    variables.linear(&format!("{attention}/linear_1"), 2, 1);
    variables.linear(&format!("{attention}/linear_2"), 1, 1);
    let words = u32::try_from(WORDS).unwrap_or(0);
    variables.halves("decoder/embeddings/weight", &[words, WIDTH]);
    variables.halves("encoder/position_encodings/encodings", &[1500, WIDTH]);
    variables.halves("decoder/position_encodings/encodings", &[448, WIDTH]);
    variables.halves("encoder/conv1/weight", &[WIDTH, 80, 3]);
    variables.halves("encoder/conv1/bias", &[WIDTH]);
    variables.halves("encoder/conv2/weight", &[WIDTH, WIDTH, 3]);
    variables.halves("encoder/conv2/bias", &[WIDTH]);

    let mut file = 6u32.to_le_bytes().to_vec();
    file.extend(string("WhisperSpec"));
    file.extend([3, variables.count].map(u32::to_le_bytes).concat());
    file.extend(variables.bytes);
    file.extend(1u32.to_le_bytes());
    file.extend(string("decoder/projection/weight"));
    file.extend(string("decoder/embeddings/weight"));
    file
}

#[derive(Default)]
struct Variables {
    count: u32,
    bytes: Vec<u8>,
}

impl Variables {
    fn linear(&mut self, name: &str, rows: u32, columns: u32) {
        let (rows, columns) = (rows * WIDTH, columns * WIDTH);
        self.halves(&format!("{name}/weight"), &[rows, columns]);
        self.halves(&format!("{name}/bias"), &[rows]);
    }

    fn norm(&mut self, name: &str) {
        self.halves(&format!("{name}/gamma"), &[WIDTH]);
        self.halves(&format!("{name}/beta"), &[WIDTH]);
    }

    /// Numbers of half precision, all zero.
    fn halves(&mut self, name: &str, shape: &[u32]) {
        let length = 2 * shape.iter().product::<u32>();
        self.variable(name, shape, 4, &vec![0; length as usize]);
    }

    fn number(&mut self, name: &str, number: u16) {
        self.variable(name, &[], 2, &number.to_le_bytes());
    }

    fn variable(&mut self, name: &str, shape: &[u32], kind: u8, content: &[u8]) {
        self.count += 1;
        self.bytes.extend(string(name));
        self.bytes.push(u8::try_from(shape.len()).unwrap_or(0));
        self.bytes
            .extend(shape.iter().flat_map(|size| size.to_le_bytes()));
        self.bytes.push(kind);
        let length = u32::try_from(content.len()).unwrap_or(0);
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(content);
    }
}

/// A length that counts the zero at the end, the text, and the zero.
fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len() + 1).unwrap_or(0);
    [&length.to_le_bytes(), text.as_bytes(), b"\0"].concat()
}
