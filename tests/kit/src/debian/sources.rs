//! The machine's own apt sources, read only to learn which archive it uses: no
//! address of an archive is written in this repository.

use std::fs;
use std::path::{Path, PathBuf};

/// One archive as configured: sources.list(5), either style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// Base address.
    pub(super) uri: String,
    /// Releases taken from it.
    pub(super) suites: Vec<String>,
    /// Sections of the archive.
    pub(super) components: Vec<String>,
    /// File of the keys that sign it; not set for a key block embedded in the file.
    pub(super) signed_by: Option<PathBuf>,
}

/// The sources under `etc` (normally `/etc/apt`); unreadable files are skipped as apt does.
pub(super) fn configured(etc: &Path) -> Vec<Source> {
    let mut files = vec![etc.join("sources.list")];
    if let Ok(parts) = fs::read_dir(etc.join("sources.list.d")) {
        files.extend(parts.filter_map(Result::ok).map(|part| part.path()));
    }
    files.sort();
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(one_line_style(&text)),
            Some("sources") => sources.extend(deb822_style(&text)),
            _ => {}
        }
    }
    sources
}

/// `deb [option=value …] uri suite component …`
fn one_line_style(text: &str) -> Vec<Source> {
    text.lines().filter_map(one_line).collect()
}

fn one_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    let rest = rest
        .starts_with(char::is_whitespace)
        .then(|| rest.trim_start())?;
    let (options, rest) = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let uri = words.next()?;
    let suites = vec![words.next()?];
    let signed_by = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="));
    Some(Source {
        uri,
        suites,
        components: words.collect(),
        signed_by: signed_by.and_then(key_file),
    })
}

/// Stanzas of `Field: value`, continued by indented lines, parted by empty ones.
fn deb822_style(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut stanza: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(from_stanza(&stanza));
            stanza.clear();
        } else if line.starts_with(char::is_whitespace) {
            if let Some((_, value)) = stanza.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((field, value)) = line.split_once(':') {
            stanza.push((field.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn from_stanza(stanza: &[(String, String)]) -> Vec<Source> {
    let value = |name: &str| {
        stanza
            .iter()
            .find(|(field, _)| field == name)
            .map_or("", |(_, value)| value.as_str())
    };
    let list = |name: &str| {
        value(name)
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let disabled = matches!(
        value("enabled").to_ascii_lowercase().as_str(),
        "no" | "false" | "off" | "0"
    );
    if disabled || !list("types").iter().any(|kind| kind == "deb") || list("suites").is_empty() {
        return Vec::new();
    }
    let one = |uri| Source {
        uri,
        suites: list("suites"),
        components: list("components"),
        signed_by: key_file(value("signed-by")),
    };
    list("uris").into_iter().map(one).collect()
}

/// The first file named; a fingerprint or an embedded key block is none.
fn key_file(value: &str) -> Option<PathBuf> {
    let first = value.split([',', ' ', '\n']).next()?;
    first.starts_with('/').then(|| PathBuf::from(first))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(uri: &str, suites: &[&str], components: &[&str], key: Option<&str>) -> Source {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let signed_by = key.map(PathBuf::from);
        Source {
            uri: uri.to_owned(),
            suites: owned(suites),
            components: owned(components),
            signed_by,
        }
    }

    #[test]
    fn deb822_stanzas_are_read() {
        let text = "# comment\nTypes: deb deb-src\n# in between\nURIs: http://a.invalid/debian http://b.invalid/debian\n\
                    Suites: bookworm\n bookworm-updates\nComponents: main\nSigned-By: /keys/a.gpg\n\n\
                    Types: deb-src\nURIs: http://c.invalid/debian\nSuites: bookworm\nComponents: main\n\n\n\
                    types: deb\nuris: http://d.invalid/debian\nsuites: ./\nenabled: no\n\n\
                    Types: deb\nURIs: http://e.invalid/debian\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN PGP\n .\n x";
        let expected = [
            source(
                "http://a.invalid/debian",
                &["bookworm", "bookworm-updates"],
                &["main"],
                Some("/keys/a.gpg"),
            ),
            source(
                "http://b.invalid/debian",
                &["bookworm", "bookworm-updates"],
                &["main"],
                Some("/keys/a.gpg"),
            ),
            source("http://e.invalid/debian", &["sid"], &["main"], None),
        ];
        assert_eq!(deb822_style(text), expected);
    }

    #[test]
    fn one_line_sources_are_read() {
        let text = "deb http://a.invalid/debian bookworm main contrib # why\n#deb http://no.invalid/ x y\n\
                    deb-src http://no.invalid/debian bookworm main\ndebfoo\ndeb\n\
                    deb [arch=amd64 signed-by=/keys/b.gpg] http://b.invalid/debian sid main\ndeb [broken http://no.invalid/ x";
        let expected = [
            source(
                "http://a.invalid/debian",
                &["bookworm"],
                &["main", "contrib"],
                None,
            ),
            source(
                "http://b.invalid/debian",
                &["sid"],
                &["main"],
                Some("/keys/b.gpg"),
            ),
        ];
        assert_eq!(one_line_style(text), expected);
    }

    #[test]
    fn both_styles_are_found_in_a_folder_and_disabled_files_are_not() {
        let etc = tempfile::tempdir().unwrap();
        fs::create_dir(etc.path().join("sources.list.d")).unwrap();
        let line = "deb http://a.invalid/debian sid main\n";
        for file in [
            "sources.list",
            "sources.list.d/x.list",
            "sources.list.d/y.sources.disabled",
        ] {
            fs::write(etc.path().join(file), line).unwrap();
        }
        let stanza = "Types: deb\nURIs: http://b.invalid/debian\nSuites: sid\nComponents: main\n";
        fs::write(etc.path().join("sources.list.d/z.sources"), stanza).unwrap();
        let found: Vec<_> = configured(etc.path())
            .into_iter()
            .map(|source| source.uri)
            .collect();
        assert_eq!(
            found,
            [
                "http://a.invalid/debian",
                "http://a.invalid/debian",
                "http://b.invalid/debian"
            ]
        );
        assert!(configured(&etc.path().join("absent")).is_empty());
    }

    proptest! {
        #[test]
        fn no_text_upsets_the_parsers(text in r"(Types|URIs|deb|\[|\]|:| |\n|#|\PC){0,60}") {
            for source in deb822_style(&text).into_iter().chain(one_line_style(&text)) {
                prop_assert!(!source.uri.is_empty() && !source.suites.is_empty());
            }
        }
    }
}
