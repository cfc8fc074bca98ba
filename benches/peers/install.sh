#!/usr/bin/env bash
# Installs what benches/peers/run.py compares tapsight with: packages of Debian 12, a .venv and the cargo loops. Why
# something could not be installed is left in made/NAME.failed, where run.py finds it. Again and again is fine.
set -uo pipefail
cd "$(dirname "$0")"
mkdir -p made

AS_ROOT=()
[ "$(id -u)" = 0 ] || AS_ROOT=(sudo -n)
PYTHON=${PYTHON:-python3}
export DEBIAN_FRONTEND=noninteractive

# try NAME COMMAND...: a peer that cannot be installed does not keep the others from it.
try() {
    local name=$1
    shift
    if "$@" > "made/$name.log" 2>&1; then
        rm -f "made/$name.failed"
        echo "$name: installed"
    else
        grep -v '^ *$' "made/$name.log" | tail -n 1 > "made/$name.failed"
        echo "$name: not installed: $(cat "made/$name.failed")"
    fi
}

debian() {
    "${AS_ROOT[@]}" apt-get install -y -q --no-install-recommends "$@"
}

package() {
    [ -x .venv/bin/python ] || "$PYTHON" -m venv .venv || return
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
}

"${AS_ROOT[@]}" apt-get update -q > made/apt.log 2>&1
try tcpdump debian tcpdump
try tshark debian tshark
try ndpiReader debian libndpi-bin
try argus debian argus-server argus-client
try softflowd debian softflowd
try nfstream package nfstream==6.6.0
try dpkt package dpkt==1.9.8
try scapy package scapy==2.8.0
try pcaptoparquet package pcaptoparquet==0.2.20260924
try loops cargo build --release --locked --quiet --manifest-path loops/Cargo.toml
