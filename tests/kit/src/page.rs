//! Pages of the documentation that the tests write: each row belongs to the test
//! that shows it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::host;

/// A page's row is what a test has just seen; with `UPDATE_EXPECT=1` it is
/// written anew. `page` is a path in the workspace, `name` the row's first
/// cell. Rows keep their order; a new one comes last.
///
/// # Panics
/// When the page says otherwise, or cannot be read or written.
#[track_caller]
pub fn assert_row(page: &str, name: &str, cells: &[&str]) {
    let path = workspace().join(page);
    let row = format!("| {name} | {} |", cells.join(" | "));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
    if host::variable("UPDATE_EXPECT").is_some() {
        fs::write(&path, with_row(&text, name, &row)).expect("the page can be written");
        return;
    }
    let is_there = text.lines().any(|line| line == row);
    assert!(is_there, "{page} does not say what was seen:\n{row}");
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn with_row(text: &str, name: &str, row: &str) -> String {
    let begin = format!("| {name} |");
    let mut lines: Vec<&str> = text.lines().collect();
    match lines.iter().position(|line| line.starts_with(&begin)) {
        Some(place) => lines[place] = row,
        None => lines.push(row),
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::with_row;

    #[test]
    fn a_row_replaces_its_own_and_no_other() {
        let page = "# Page\n\n| a | 1 |\n| ab | 2 |\n";
        assert_eq!(
            with_row(page, "a", "| a | 3 |"),
            "# Page\n\n| a | 3 |\n| ab | 2 |\n"
        );
        assert_eq!(
            with_row(page, "b", "| b | 4 |"),
            format!("{page}| b | 4 |\n")
        );
    }
}
