#!/usr/bin/env bash
# soak.sh [--minutes N] [--seed N] [--spare-engine]: random operations on plugins for N minutes (60), while coordinators,
# broker and engine are killed, stopped and frozen and containers meddled with; fails when anything is not as it must be.
# The same seed makes the same choices. --spare-engine never kills the engine. The report is left in
# .cache/soak-report.md, and the logs in .cache/soak-logs when something was violated. Ctrl-C ends it early. Runs on
# an engine of its own: see deploy/own-engine.sh.
#
# BIGSKIES_BUILD=0 takes the images that are there instead of building them.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

export BIGSKIES_ENGINE_SCRIPT=$ROOT/deploy/own-engine.sh
export BIGSKIES_OWN_ENGINE=bigskies-soak
cd "$ROOT"
mkdir -p "$CACHE"
"$ROOT/deploy/packages.sh" run build
cargo build --locked --quiet -p tests --bin soak
target=$(cargo metadata --locked --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

# Its own engine has no way out, so what is fetched is fetched before.
quietly "$ROOT/deploy/compose.sh" --path
# Where the images are built, and taken from.
"$ROOT/deploy/engine.sh" start
if [ "${BIGSKIES_BUILD:-1}" != 0 ]; then
  "$ROOT/deploy/build-images.sh" plugin-coordinator security-coordinator message-coordinator init cli broker tools \
    forwarder registry
fi
trap '"$BIGSKIES_ENGINE_SCRIPT" down' EXIT
trap 'exit 130' INT TERM
"$BIGSKIES_ENGINE_SCRIPT" up
"$BIGSKIES_ENGINE_SCRIPT" run "$target/debug/soak" "$@"
