#!/usr/bin/env bash
# fuzz.sh [RUNS [TARGET...]]: gives every fuzz target of tests/fuzz so many inputs (1,000,000 by default), and says
# how many it took, how fast, and how much of the code they reached. Stops at the first target that fails.
#
# BIGSKIES_FUZZ_JOBS=2 processes share a target. What they find goes on in .cache/fuzz; BIGSKIES_FUZZ_KEEP=1 takes
# the fewest inputs that reach everything into tests/fuzz/corpus, from where every run begins.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

CARGO_FUZZ=0.13.1
runs=${1:-1000000}
[ $# -eq 0 ] || shift
jobs=${BIGSKIES_FUZZ_JOBS:-2}
host=$(rustc -vV | sed -n 's/^host: //p')
programs=$ROOT/target/fuzz/$host/release
corpus=$ROOT/tests/fuzz/corpus
found=$CACHE/fuzz
# Deep and long enough for everything that is compared; what is longer than its limit is tried by ordinary tests.
limits=(-max_len=1024 -timeout=20 -rss_limit_mb=1024)

[ $# -gt 0 ] || set -- envelope manifest filter dynsec jwt
for target in "$@"; do
  [ -e "$ROOT/tests/fuzz/fuzz_targets/$target.rs" ] || fail "there is no fuzz target '$target' in tests/fuzz/fuzz_targets"
done

"$ROOT/deploy/packages.sh" build fuzz
if [ "$("$CACHE/cargo/bin/cargo-fuzz" --version 2>/dev/null)" != "cargo-fuzz $CARGO_FUZZ" ]; then
  say "fuzz: installing cargo-fuzz $CARGO_FUZZ"
  quietly cargo install cargo-fuzz --locked --version "$CARGO_FUZZ" --root "$CACHE/cargo" --target-dir "$ROOT/target/tools"
fi
# Without a sanitizer it takes a stable compiler; there is no unsafe code of ours for one to watch. Inputs are made
# from words that the code compares with, so its comparisons need no tracing, which costs a third of the speed.
PATH=$CACHE/cargo/bin:$PATH cargo fuzz build --fuzz-dir "$ROOT/tests/fuzz" --sanitizer none --no-trace-compares \
  --target-dir "$ROOT/target/fuzz"

# sum NAME FILE...: what libFuzzer's statistics say in all logs together.
sum() { local name=$1; shift; cat "$@" | sed -n "s/^stat::$name: *//p" | awk '{ n += $1 } END { print n + 0 }'; }

# reached FILE...: the last word on coverage (edges of the code, and features), of the log that got furthest.
reached() { cat "$@" | grep -o 'cov: [0-9]* ft: [0-9]*' | sort -k4 -n | tail -1; }

for target in "$@"; do
  logs=$found/logs/$target
  rm -rf "$logs"
  mkdir -p "$logs" "$found/$target" "$corpus/$target"
  begin=$SECONDS
  (cd "$logs" && "$programs/$target" "$found/$target" "$corpus/$target" -jobs="$jobs" -workers="$jobs" \
    -runs=$((runs / jobs)) -print_final_stats=1 -artifact_prefix="$logs/" "${limits[@]}" >all.log 2>&1) || {
    grep -h -A 8 panicked "$logs"/*.log >&2 || tail -20 "$logs/all.log" >&2
    fail "fuzz: $target failed; the input and the logs are in $logs; again: $programs/$target INPUT"
  }
  say "fuzz: $target: $(sum number_of_executed_units "$logs"/fuzz-*.log) inputs in $((SECONDS - begin)) s," \
    "$(sum average_exec_per_sec "$logs"/fuzz-*.log)/s, $(reached "$logs"/fuzz-*.log), no crash"
  if [ -n "${BIGSKIES_FUZZ_KEEP:-}" ]; then
    rm -rf "$logs/kept" && mkdir "$logs/kept"
    quietly "$programs/$target" -set_cover_merge=1 "${limits[@]}" "$logs/kept" "$corpus/$target" "$found/$target"
    rm -rf "${corpus:?}/$target" && cp -r "$logs/kept" "$corpus/$target"
    say "fuzz: $target: kept $(find "$corpus/$target" -type f | wc -l) inputs, $(du -sb "$corpus/$target" | cut -f1) bytes"
  fi
done
