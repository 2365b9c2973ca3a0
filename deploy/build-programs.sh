#!/usr/bin/env bash
# build-programs.sh PACKAGE...: builds programs of the workspace that need no library of the system that they
# run on. Prints the folder that they are in.
#
# BIGSKIES_PROFILE: the Cargo profile, `release` if not set; `quick` is for development.
# BIGSKIES_FEATURES: Cargo features, none if not set.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

profile=${BIGSKIES_PROFILE:-release}
packages=()
for package in "$@"; do packages+=(-p "$package"); done
if [ -n "${BIGSKIES_FEATURES:-}" ]; then packages+=(--features "$BIGSKIES_FEATURES"); fi

cd "$ROOT"
host=$(rustc -vV | sed -n 's/^host: //p')
# With --target, build scripts and macros are not made static along with the programs.
RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --quiet --profile "$profile" --target "$host" "${packages[@]}" >&2
target=$(cargo metadata --locked --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
# Cargo's folder of the profile `dev` has another name.
printf '%s\n' "$target/$host/${profile/#%dev/debug}"
