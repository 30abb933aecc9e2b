#!/usr/bin/env bash
# Runs a bench and puts its table into a document, between two lines that hold
# "bench-WHAT:begin" and "bench-WHAT:end".
#
#   tools/bench-table.sh PROGRAM DOCUMENT WHAT [OPTION...]
#
#   WHAT   media, speech or calls
set -euo pipefail

program=$1 document=$2 what=$3
shift 3
table=$(mktemp)
trap 'rm -f "$table" "$table.new"' EXIT

status=0
"$program" "$what" --format markdown "$@" >"$table" || status=$?
# 3: measured, but not to be relied on; the table says why.
if [ "$status" -ne 0 ] && [ "$status" -ne 3 ]; then
    exit "$status"
fi
awk -v table="$table" -v what="$what" '
    index($0, "bench-" what ":end") { skipping = 0 }
    !skipping { print }
    index($0, "bench-" what ":begin") {
        print ""
        while ((getline line < table) > 0) print line
        print ""
        skipping = 1
    }' "$document" >"$table.new"
cat "$table.new" >"$document"
exit "$status"
