//! Sources that go from one leg to another.

use super::*;

#[test]
fn a_port_that_asterisk_gives_out_again_is_the_next_calls_at_once() {
    let mut rig = Rig::new();
    for call in ["old", "new", "newest"] {
        rig.open(call);
    }
    rig.place("old", "caller", A).unwrap();
    rig.send(A, 1);
    // The first call is still to be told to be over, and then the second one is, too.
    rig.place("new", "caller", A).unwrap();
    rig.send_stream(A, 1, 2);
    let old = rig.leg("old", "caller");
    let key = rig.key("old");
    assert_eq!(rig.shard.residents.get_mut(key).unwrap().source(old), None);
    rig.hang_up("old");
    rig.send_stream(A, 2, 2);
    rig.place("newest", "caller", A).unwrap();
    rig.hang_up("new");
    rig.send_stream(A, 1, 3);
    rig.send_stream(A, 3, 2);
    rig.hang_up("newest");
    let closed = [("old", 1), ("new", 2), ("newest", 1)];
    assert_eq!(
        rig.closed(),
        closed.map(|(call, n)| (call.to_owned(), Some(n)))
    );
}

#[test]
fn a_registered_source_is_not_taken_over() {
    let mut rig = Rig::new();
    rig.open("c");
    rig.open("d");
    rig.register("c", "caller", A).unwrap();
    let taken = Err(LegRefused::SourceTaken(A.parse().unwrap()));
    assert_eq!(rig.place("d", "caller", A), taken);
    rig.place("d", "caller", B).unwrap();
    let taken = Err(LegRefused::SourceTaken(B.parse().unwrap()));
    assert_eq!(rig.register("c", "callee", B), taken);
}
