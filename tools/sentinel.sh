#!/bin/sh
# Speaks the word that is appended to utterances: recognition/src/sentinel/goodbye.s16le, 16 kHz, 16 bit, mono.
# Flite's voice slt, held to the band of a telephone, without the silence around it. Needs flite and sox.
# Without dither, so that it can be made again. Another release of either may give other samples: measure the words anew before they are committed.
set -eu
OUT=${1:-recognition/src/sentinel/goodbye.s16le}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flite -voice slt -t goodbye -o "$work/spoken.wav"
sox -D "$work/spoken.wav" -r 8000 -c 1 -b 16 "$work/telephone.wav"
sox -D "$work/telephone.wav" -r 16000 -c 1 -b 16 -e signed -t raw "$OUT" \
    silence 1 0.01 0.5% reverse silence 1 0.01 0.5% reverse gain -n -6
