//! Media that loses nothing and says so: what a network, a peer or a stranger can
//! do to a call's packets, each case against an oracle.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod loss;
mod numbers;
mod oracle;
mod order;
mod payloads;
mod rig;
mod senders;
mod strangers;
mod table;

use std::fs;
use std::path::Path;

use asterscribe_testkit::host;

#[test]
fn the_page_in_the_docs_is_what_the_cases_give() {
    let rows = [
        loss::rows(),
        order::rows(),
        numbers::rows(),
        payloads::rows(),
        strangers::rows(),
        senders::rows(),
    ]
    .concat();
    let page = table::markdown(&rows);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/network-faults.md");
    if host::variable("UPDATE_EXPECT").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), page);
}
