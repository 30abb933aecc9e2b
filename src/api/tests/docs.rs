//! The reference says what the code does.

use super::super::ProblemKind;
use super::*;

const REFERENCE: &str = include_str!("../../../docs/api.md");

#[test]
fn the_reference_names_every_route_and_every_problem() {
    for route in ROUTES {
        let heading = format!("`{} {}`", route.method, route.path);
        assert!(REFERENCE.contains(&heading), "docs/api.md lacks {heading}");
    }
    for kind in ProblemKind::ALL {
        let row = format!("| {} | `{}` |", kind.status().as_u16(), kind.slug());
        assert!(REFERENCE.contains(&row), "docs/api.md lacks {row}");
    }
}

#[test]
fn the_references_json_is_json() {
    let blocks = REFERENCE
        .split("```json\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    let parsed: Vec<Value> = blocks
        .map(|block| serde_json::from_str(block).expect(block))
        .collect();
    assert!(parsed.len() >= 8);
}
