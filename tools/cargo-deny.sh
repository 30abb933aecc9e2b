#!/usr/bin/env bash
# Checks the dependency tree against deny.toml with a pinned cargo-deny, which
# is built once (about a minute of CPU) and kept below CARGO_HOME.
#
# The advisory database lives on GitHub. Where that cannot be reached the other
# checks still run, and the last lines say that advisories were NOT checked.
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=0.20.2
ROOT=${CARGO_HOME:-$HOME/.cargo}/asterscribe-tools/cargo-deny-$VERSION

main() {
    install_deny
    local fetch_log
    fetch_log=$(mktemp)
    # shellcheck disable=SC2064 # the name as it is now
    trap "rm -f '$fetch_log'" EXIT

    if timeout 120 "$ROOT/bin/cargo-deny" --locked fetch db >"$fetch_log" 2>&1; then
        "$ROOT/bin/cargo-deny" --locked check --hide-inclusion-graph
    else
        "$ROOT/bin/cargo-deny" --locked check --hide-inclusion-graph bans licenses sources
        sed 's/^/cargo-deny: /' "$fetch_log"
        printf '%s\n' \
            '************************************************************************' \
            '* ADVISORIES WERE SKIPPED: the advisory database could not be fetched  *' \
            '* (see above). Known vulnerabilities in dependencies were NOT checked. *' \
            '* Licences, bans and sources were.                                     *' \
            '************************************************************************'
    fi
}

install_deny() {
    if [ -x "$ROOT/bin/cargo-deny" ]; then
        return
    fi
    echo "building cargo-deny $VERSION (once)"
    # A debug build: a third of the compile time, and quick enough to run.
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug \
        --version "$VERSION" --root "$ROOT" cargo-deny
}

main
