#!/usr/bin/env bash
# drill.sh [--only PATTERN]... [--list]: kills each coordinator at every step of every operation, and broker and engine
# at one of each kind; says for each what was found after recovery, and fails when one row does not hold. The rows are
# in tests/src/drill/table.rs; --list names them. Runs on an engine of its own: see deploy/own-engine.sh.
#
# BIGSKIES_BUILD=0 takes the images that are there instead of building them.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

export BIGSKIES_ENGINE_SCRIPT=$ROOT/deploy/own-engine.sh
cd "$ROOT"
mkdir -p "$CACHE"
"$ROOT/deploy/packages.sh" run build engine
cargo build --locked --quiet -p tests --bin drill
target=$(cargo metadata --locked --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
for argument in "$@"; do [ "$argument" != --list ] || exec "$target/debug/drill" "$@"; done

# Its own engine has no way out, so what is fetched is fetched before.
quietly "$ROOT/deploy/compose.sh" --path
# Where the images are built, and taken from.
"$ROOT/deploy/engine.sh" start
if [ "${BIGSKIES_BUILD:-1}" != 0 ]; then
  "$ROOT/deploy/build-images.sh" plugin-coordinator security-coordinator message-coordinator init cli broker tools \
    forwarder registry plugin-coordinator-drill
fi
trap '"$BIGSKIES_ENGINE_SCRIPT" down' EXIT
trap 'exit 130' INT TERM
"$BIGSKIES_ENGINE_SCRIPT" up "bigskies/plugin-coordinator:$VERSION-drill"
"$BIGSKIES_ENGINE_SCRIPT" run "$target/debug/drill" "$@"
