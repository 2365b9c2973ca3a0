#!/usr/bin/env bash
# compose.sh ARGUMENTS: `docker compose` for this checkout, whether this machine has compose v2 or not.
#
# Debian 12 has none; there the one of Debian 13 is fetched into the checkout's cache. `--path` prints
# the command that is used, and runs nothing.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

fetched=$CACHE/compose/docker-compose

machine_has_compose() { [[ $(docker compose version --short 2>/dev/null) =~ ^v?[2-9]\. ]]; }

fetch() {
  [ ! -x "$fetched" ] || return 0
  local tree=$CACHE/debian13/compose
  "$ROOT/deploy/debian13.sh" --alone docker-compose -- "$tree" >&2
  mkdir -p "$(dirname "$fetched")"
  mv "$tree/usr/libexec/docker/cli-plugins/docker-compose" "$fetched"
  rm -rf "$tree"
}

if [ -x "$fetched" ]; then
  compose=("$fetched")
elif machine_has_compose; then
  compose=(docker compose)
else
  is_debian || fail "compose v2 is missing: 'docker compose version' does not answer. Install Docker's compose plugin."
  once compose fetch
  compose=("$fetched")
fi

if [ "${1:-}" = --path ]; then
  printf '%s\n' "${compose[*]}"
else
  exec "${compose[@]}" --project-directory "$ROOT" --file "$ROOT/docker-compose.yml" "$@"
fi
