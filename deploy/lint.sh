#!/usr/bin/env bash
# lint.sh: formatting, Rust's and the shell's linters; warnings are failures.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

cd "$ROOT"
"$ROOT/deploy/packages.sh" lint
cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
# Left out: functions that are called by name (2317), and `a && b || fail` where both a and b are tests (2015).
shellcheck --exclude=SC2317,SC2015 --external-sources --source-path=SCRIPTDIR deploy/*.sh .ci/run
"$ROOT/deploy/compose.sh" config --quiet
say "lint: nothing to complain about"
