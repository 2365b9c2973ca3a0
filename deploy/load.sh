#!/usr/bin/env bash
# load.sh [--minutes N] [--plugins N] [--cycles N] [--interval SECONDS] [--plant silent|lost]: a thousand plugins say their
# health each second, for ten minutes, beside the life of a real one; reports what was found (.cache/load-report.md),
# and fails when health was lost, a plugin was taken for silent that was not, or memory grows. The containers of the
# thousand are simulated; see tests/src/load.rs.
#
# BIGSKIES_BUILD=0 takes the images that are there instead of building them.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

cd "$ROOT"
mkdir -p "$CACHE"
"$ROOT/deploy/packages.sh" run build
"$ROOT/deploy/engine.sh" start
if [ "${BIGSKIES_BUILD:-1}" != 0 ]; then
  "$ROOT/deploy/build-images.sh" plugin-coordinator security-coordinator message-coordinator init cli broker tools \
    forwarder registry
fi
cargo build --locked --quiet -p tests --bin load
target=$(cargo metadata --locked --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
# A connection for each of the thousand, and as many to spare.
[ "$(ulimit -n)" -ge 4096 ] || ulimit -n 4096
exec "$target/debug/load" "$@"
