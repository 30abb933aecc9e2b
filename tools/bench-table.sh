#!/usr/bin/env bash
# Measures the media path and puts the table into a document, between two
# lines that hold "bench-media:begin" and "bench-media:end".
#
#   tools/bench-table.sh PROGRAM DOCUMENT
set -euo pipefail

program=$1 document=$2
table=$(mktemp)
trap 'rm -f "$table" "$table.new"' EXIT

status=0
"$program" bench media --format markdown >"$table" || status=$?
# 3: measured, but not to be relied on; the table says why.
if [ "$status" -ne 0 ] && [ "$status" -ne 3 ]; then
    exit "$status"
fi
awk -v table="$table" '
    /bench-media:end/ { skipping = 0 }
    !skipping { print }
    /bench-media:begin/ {
        print ""
        while ((getline line < table) > 0) print line
        print ""
        skipping = 1
    }' "$document" >"$table.new"
cat "$table.new" >"$document"
exit "$status"
