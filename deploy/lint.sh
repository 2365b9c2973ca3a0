#!/usr/bin/env bash
# lint.sh: formatting, Rust's and the shell's linters; warnings are failures.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

cd "$ROOT"
"$ROOT/deploy/packages.sh" lint
cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
# The fuzz targets are a workspace of their own; what they share with this one is built once.
cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
"$ROOT/deploy/packages.sh" build fuzz
cargo clippy --manifest-path tests/fuzz/Cargo.toml --target-dir target --locked -- -D warnings
# Licences, sources and banned crates: tests/tests/tidy/supply.rs holds deny.toml without any program; where
# cargo-deny is installed it is asked too, for it reads the licences' own texts.
quietly cargo test --quiet --package tests --test tidy --locked supply
PATH=$PATH:$CACHE/cargo/bin
if have cargo-deny; then cargo deny --locked --offline check bans licenses sources; fi
# Left out: functions that are called by name (2317), and `a && b || fail` where both a and b are tests (2015).
shellcheck --exclude=SC2317,SC2015 --external-sources --source-path=SCRIPTDIR deploy/*.sh .ci/run
"$ROOT/deploy/compose.sh" config --quiet
say "lint: nothing to complain about"
