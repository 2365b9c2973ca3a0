#!/usr/bin/env bash
# test.sh [ARGUMENTS of cargo test]: everything that `make test` means: installs what the tests need, starts
# an engine if none answers, builds images and runs all tests. Ends in one line, "N passed, N failed".
#
# BIGSKIES_BUILD=0 takes the images that are there instead of building them.
#
# Nothing is skipped: what is missing is a failure with its reason. What was started here is ended here.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

# Longer than all tests together ever take; a test that hangs must not hang the run.
PATIENCE=${BIGSKIES_TEST_SECONDS:-4200}
# Images and what the tests build are of one profile, and the limits of size and memory hold for releases.
export BIGSKIES_PROFILE=${BIGSKIES_PROFILE:-release}

mkdir -p "$CACHE"
log=$CACHE/test.log
reasons=()
engine_is_ours=

cleanup() { [ -z "$engine_is_ours" ] || "$ROOT/deploy/engine.sh" stop; }
trap cleanup EXIT
trap 'exit 130' INT TERM

# prepare WHAT COMMAND...: a step without which the tests would fail for a reason that is hard to see.
prepare() {
  local what=$1 begin=$SECONDS
  shift
  if "$@"; then say "test: $what ($((SECONDS - begin)) s)"; else reasons+=("$what: failed, see above"); fi
}

sum() { grep -E '^test result: ' "$log" | sed -n "s/.* \([0-9]\+\) $1.*/\1/p" | awk '{ n += $1 } END { print n + 0 }'; }

# Each failure with the first lines of its reason, which stand far above when all has run.
failures() {
  awk '
    /^failures:$/ { within = !within; left = 0; next }
    /^test result: / { within = 0; left = 0 }
    within && /^---- .* ----$/ { sub(/^---- /, ""); sub(/( stdout)? ----$/, ""); print "FAILED " $0; left = 6; next }
    within && left && NF { print "    " substr($0, 1, 300); left-- }
  ' "$log"
}

summarise() {
  local status=$1 passed failed skipped
  passed=$(sum passed) failed=$(sum failed) skipped=$(sum ignored)
  if [ "$skipped" -gt 0 ]; then reasons+=("$skipped tests are marked #[ignore]; no test is skipped here"); fi
  if [ "$status" = 124 ] || [ "$status" = 137 ]; then reasons+=("the tests did not end within $PATIENCE s; the last line of $log tells which ran"); fi
  if [ "$status" != 0 ] && [ "$failed" = 0 ] && [ ${#reasons[@]} = 0 ]; then reasons+=("the tests could not be built or a test program ended early, see above"); fi
  if [ "$passed" = 0 ] && [ "$failed" = 0 ] && [ ${#reasons[@]} = 0 ]; then reasons+=("no test was run"); fi
  say
  failures
  for reason in ${reasons[@]+"${reasons[@]}"}; do say "failed: $reason"; done
  say "$passed passed, $((failed + ${#reasons[@]})) failed"
  [ "$failed" = 0 ] && [ ${#reasons[@]} = 0 ]
}

prepare "packages" "$ROOT/deploy/packages.sh" run build engine test
"$ROOT/deploy/engine.sh" status >/dev/null 2>&1 || engine_is_ours=yes
prepare "engine" "$ROOT/deploy/engine.sh" start
prepare "broker" "$ROOT/deploy/broker-root.sh"
prepare "compose" "$ROOT/deploy/compose.sh" --path
[ "${BIGSKIES_BUILD:-1}" = 0 ] || prepare "images" "$ROOT/deploy/build-images.sh"
[ "${BIGSKIES_BUILD:-1}" = 0 ] || prepare "the drill's image" "$ROOT/deploy/build-images.sh" plugin-coordinator-drill

: >"$log"
cd "$ROOT" || exit 1
# The process group of its own lets a run that is too long be ended with all that it started.
timeout --kill-after 10 "$PATIENCE" cargo test --workspace --locked --no-fail-fast "$@" 2>&1 | tee "$log"
summarise "${PIPESTATUS[0]}"
