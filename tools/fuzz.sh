#!/usr/bin/env bash
# Runs fuzz targets for a while each, two at a time, and says how many inputs
# they took. Needs cargo-fuzz (installed if missing) and a nightly compiler.
#
#   tools/fuzz.sh [SECONDS [TARGET...]]     the default is 60 s of every target
#
# A crash ends in fuzz/artifacts/TARGET; put its input into fuzz/corpus/TARGET.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
shift || true
command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
targets=("$@")
if [ "${#targets[@]}" -eq 0 ]; then
    mapfile -t targets < <(cargo +nightly fuzz list)
fi
logs=target/fuzz
mkdir -p "$logs"

run() {
    local target=$1
    mkdir -p "$logs/$target"
    # New finds go to a folder that is not committed; the corpus is the start.
    # Without a sanitizer, since no target has unsafe code of ours: a panic,
    # an overflow or an endless loop is what is looked for.
    if cargo +nightly fuzz run --sanitizer none "$target" "$logs/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        >"$logs/$target.log" 2>&1; then
        awk -v target="$target" '
            /stat::number_of_executed_units/ { units = $2 }
            /stat::average_exec_per_sec/ { rate = $2 }
            END { printf "%-14s %12d executions, %9d per second: no crash\n", target, units, rate }
        ' "$logs/$target.log"
    else
        echo "$target: CRASHED, see $logs/$target.log"
        return 1
    fi
}
export -f run
export seconds logs

for target in "${targets[@]}"; do mkdir -p "fuzz/corpus/$target"; done
cargo +nightly fuzz build --sanitizer none >"$logs/build.log" 2>&1 || { tail -n 30 "$logs/build.log"; exit 1; }
printf '%s\n' "${targets[@]}" | xargs -P 2 -I{} bash -c 'run {}'
