//! Rust as text: enough of it to see what is named where.

/// Where each path to another crate or module begins, and its root: `std`,
/// `super`, `crate::call`. Groups count as each of their members.
pub(super) fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for place in words(code, "use") {
        let tree = code[place + 3..].split(';').next().unwrap();
        for member in members(tree) {
            let root = member
                .trim_start_matches(':')
                .split("::")
                .next()
                .unwrap()
                .trim();
            if root != "crate" {
                found.push((place, root.to_owned()));
            }
        }
    }
    for place in words(code, "crate::") {
        for member in members(&code[place + 7..]) {
            found.push((place, format!("crate::{}", leading_name(member))));
        }
    }
    // A path in the middle of code names its crate just as well.
    for (place, _) in code.match_indices("asterscribe_") {
        found.push((place, leading_name(&code[place..]).to_owned()));
    }
    found
}

/// The members of a group in braces, or the one path there is.
fn members(tree: &str) -> Vec<&str> {
    let Some(group) = tree.trim_start().strip_prefix('{') else {
        return vec![tree.trim()];
    };
    let (mut depth, mut start, mut members) = (0, 0, Vec::new());
    for (place, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            ',' if depth == 0 => {
                members.push(group[start..place].trim());
                start = place + 1;
            }
            '}' if depth == 0 => {
                members.push(group[start..place].trim());
                break;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    members.retain(|member| !member.is_empty());
    members
}

fn leading_name(text: &str) -> &str {
    let end = text.find(|c: char| !is_name(c)).unwrap_or(text.len());
    &text[..end]
}

/// Where `package::` or `use package` names a crate, not a module of that name.
pub(super) fn crate_paths<'a>(code: &'a str, package: &'a str) -> impl Iterator<Item = usize> + 'a {
    words(code, package).filter(move |&place| {
        let before = code[..place].trim_end();
        let after = code[place + package.len()..].trim_start();
        let is_path = after.starts_with("::") && !before.ends_with("::");
        let is_import = leading_use(before) && after.starts_with([';', 'a', ':']);
        is_path || is_import || before.ends_with("extern crate")
    })
}

fn leading_use(before: &str) -> bool {
    before.ends_with("use") || before.ends_with("use ::")
}

/// Where `word` stands, not as a part of a longer name.
pub(super) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word)
        .map(|(place, _)| place)
        .filter(move |&place| {
            let before = code[..place].chars().next_back();
            let after = code[place + word.len()..].chars().next();
            let begins = !word.starts_with(is_name) || !before.is_some_and(is_name);
            let ends = !word.ends_with(is_name) || !after.is_some_and(is_name);
            begins && ends
        })
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

pub(super) fn line_of(code: &str, place: usize) -> usize {
    code[..place].matches('\n').count() + 1
}

/// The text with comments and the insides of literals blanked; places stay as they are.
pub(super) fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let literal = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest),
            'r' | 'b' | 'c' if !code.ends_with(is_name) => prefixed(rest),
            '\'' => character(rest),
            _ => 0,
        };
        if literal == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let blank = |byte: u8| if byte == b'\n' { '\n' } else { ' ' };
            code.extend(rest[..literal].bytes().map(blank));
            rest = &rest[literal..];
        }
    }
    code
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let step = &text.as_bytes()[at..];
        if step.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if step.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Length of the string that begins with a quotation mark.
fn quoted(text: &str) -> usize {
    let mut escaped = true;
    for (place, letter) in text.char_indices() {
        match letter {
            '"' if !escaped => return place + 1,
            '\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    text.len()
}

/// Length of a raw, byte or C string at the start, or 0 where there is a name.
fn prefixed(text: &str) -> usize {
    let after = text.trim_start_matches(['b', 'c', 'r']);
    let prefix = &text[..text.len() - after.len()];
    if !matches!(prefix, "r" | "b" | "c" | "br" | "cr") {
        return 0;
    }
    if !prefix.ends_with('r') {
        return if after.starts_with('"') {
            prefix.len() + quoted(after)
        } else {
            0
        };
    }
    let hashes = after.len() - after.trim_start_matches('#').len();
    if !after[hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = &after[hashes + 1..];
    let length = body
        .find(&end)
        .map_or(body.len(), |place| place + end.len());
    prefix.len() + hashes + 1 + length
}

/// Length of a character literal, or 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    match (letters.next(), letters.next()) {
        (Some((_, '\\')), Some((place, letter))) => {
            let after = place + letter.len_utf8();
            text[after..].find('\'').map_or(0, |end| after + end + 1)
        }
        (Some(_), Some((place, '\''))) => place + 1,
        _ => 0,
    }
}

/// Blanks the items that are built for tests only.
pub(super) fn without_tests(code: &str) -> String {
    let mut kept = code.to_owned();
    for attribute in ["#[cfg(test)]", "#[cfg(any(test,"] {
        while let Some(start) = kept.find(attribute) {
            let length = item(&kept[start..]);
            let blank: String = kept[start..start + length]
                .bytes()
                .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
                .collect();
            kept.replace_range(start..start + length, &blank);
        }
    }
    kept
}

/// Length of the item at the start: to its semicolon or its closing brace.
fn item(code: &str) -> usize {
    let mut depth = 0;
    for (place, letter) in code.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 1 => return place + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return place + 1,
            _ => {}
        }
    }
    code.len()
}
