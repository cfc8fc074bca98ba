#!/usr/bin/env bash
# Runs each fuzz target for some seconds: fuzz/run.sh SECONDS. Needs cargo-fuzz (cargo install cargo-fuzz).
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
captures=${TAPSIGHT_CAPTURES:-../shared/captures}
command -v cargo-fuzz > /dev/null || { echo "cargo-fuzz is needed: cargo install cargo-fuzz"; exit 2; }
# The address sanitizer and coverage need unstable flags, which the stable compiler takes with this.
export RUSTC_BOOTSTRAP=1
mkdir -p fuzz/corpus/{capture,readers,frame,classify,messages}
if [ -d "$captures" ]; then
  find "$captures" -type f -size -20k -name '*.pcap*' -exec cp -n {} fuzz/corpus/capture/ \;
  cp -rn fuzz/corpus/capture/. fuzz/corpus/readers/
  .venv/bin/python fuzz/seeds.py "$captures" fuzz/corpus
  cp -rn fuzz/corpus/classify/. fuzz/corpus/messages/
fi
for target in capture readers frame classify messages; do
  echo "== fuzzing $target for $seconds s"
  cargo fuzz run "$target" -- -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048
done
