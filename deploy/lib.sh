# shellcheck shell=bash
# What the scripts of this folder share. Sourced, never run.
#
# Sets ROOT (the checkout), CACHE (what is downloaded or built once, ignored by git), VERSION and the
# engine's socket.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${BIGSKIES_CACHE:-$ROOT/.cache}

# The version that images are tagged with: the workspace's, written down once.
# shellcheck disable=SC2034  # for who sources this
VERSION=$(sed -n '/^\[workspace\.package\]/,/^\[/s/^version *= *"\(.*\)"/\1/p' "$ROOT/Cargo.toml")

# An engine that the docker command was pointed to (a rootless one, say) is the one that we mean too.
if [ -z "${BIGSKIES_ENGINE_SOCKET:-}" ]; then
  case ${DOCKER_HOST:-} in
    unix://*) BIGSKIES_ENGINE_SOCKET=${DOCKER_HOST#unix://} ;;
    *) BIGSKIES_ENGINE_SOCKET=/var/run/docker.sock ;;
  esac
fi
export BIGSKIES_ENGINE_SOCKET
export DOCKER_HOST=unix://$BIGSKIES_ENGINE_SOCKET

# Programs of the system's administrator (dockerd, iptables) are not on every user's path.
PATH=$PATH:/usr/sbin:/sbin

say() { printf '%s\n' "$*"; }
note() { printf '%s\n' "$*" >&2; }
fail() {
  note "error: $*"
  exit 1
}

# quietly COMMAND...: its output is for when it fails.
quietly() {
  mkdir -p "$CACHE"
  "$@" >"$CACHE/quietly.log" 2>&1 || {
    cat "$CACHE/quietly.log" >&2
    fail "could not: $*"
  }
}

have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" = 0 ]; }
is_debian() { [ -e /etc/debian_version ] && have apt-get; }

# is_process NAME PID: a process id from a file may long be somebody else's.
is_process() { [ -n "${2:-}" ] && [ -r "/proc/$2/comm" ] && [ "$(cat "/proc/$2/comm" 2>/dev/null)" = "$1" ]; }

# wait_for SECONDS COMMAND...: until the command succeeds; fails when the time is over.
wait_for() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

# once NAME COMMAND...: runs the command while holding a lock, so that two runs of a script in one
# checkout do not write to the same folder at the same time.
once() {
  local lock="$CACHE/lock/$1"
  shift
  mkdir -p "$CACHE/lock"
  (
    flock 9
    "$@" 9>&-
  ) 9>"$lock"
}
