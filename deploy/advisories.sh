#!/usr/bin/env bash
# advisories.sh: asks RustSec's advisory database about every crate that is locked, through cargo-deny and
# deny.toml. Apart from `make lint`, because the database is on the network; where it cannot be reached this
# says so and fails.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

CARGO_DENY=0.20.2

cd "$ROOT"
PATH=$PATH:$CACHE/cargo/bin
have cargo-deny || fail "cargo-deny is not installed; run: cargo install cargo-deny --locked --version $CARGO_DENY --root '$CACHE/cargo' (ten minutes on two cores)"
cargo deny --locked check advisories || fail "cargo-deny found an advisory, or could not fetch the database, see above"
say "advisories: none"
