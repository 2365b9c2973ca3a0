#!/usr/bin/env bash
# down.sh [--purge]: stops the framework and the plugins that it runs; with --purge deletes its data too.
#
# Without --purge, what was installed stays installed, and what was to run runs again after the next
# `make up`. The engine keeps running.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/health.sh"

purge=
for argument in "$@"; do
  case $argument in
    --purge) purge=yes ;;
    *) fail "usage: $0 [--purge]" ;;
  esac
done

# each COMMAND...: runs it with the words of its input; without any, not at all.
each() { xargs --no-run-if-empty "$@"; }

# but_for_networks LEFT COMMAND...: runs what removes networks, and takes it when only a network stays that nothing is
# connected to: engines lose count of a network's endpoints now and then (moby/moby issue 42119), until they are
# restarted. LEFT prints what stays.
but_for_networks() {
  local network kept others left=$1
  shift
  "$@" >"$CACHE/down.log" 2>&1 && return
  kept=$(sed -n 's/.* network \([^ ]*\) id [0-9a-f]* has active endpoints.*/\1/p' "$CACHE/down.log" | sort -u)
  for network in $kept; do
    [ -z "$(docker ps --all --quiet --filter "network=$network")" ] || kept=
  done
  others=$("$left" | grep -vxF "$kept" || true)
  if [ -z "$kept" ] || [ -n "$others" ]; then
    cat "$CACHE/down.log" >&2
    fail "could not: $*"
  fi
  for network in $kept; do
    say "The engine keeps the network $network, to which nothing is connected: it lost count. That does no harm. Once the" \
      "engine was restarted, it can be removed with: docker network rm $network"
  done
}

# What of the framework is still there.
framework() {
  local ours=label=com.docker.compose.project=${COMPOSE_PROJECT_NAME:-bigskies}
  docker ps --all --quiet --filter "$ours"
  docker network ls --format '{{.Name}}' --filter "$ours"
  [ -z "$purge" ] || docker volume ls --quiet --filter "$ours"
}

# The networks that end_plugins means, as far as they are still there.
plugin_networks() { docker network ls --format '{{.Name}}' --filter "$ours"; }

# What the plugin coordinator made for this installation: plugins with their networks and volumes.
end_plugins() {
  local installation ours
  docker volume inspect "${COMPOSE_PROJECT_NAME:-bigskies}_plugin-secrets" >/dev/null 2>&1 || return 0
  installation=$(compose run --rm --no-deps --no-TTY init installation 2>"$CACHE/quietly.log") || {
    cat "$CACHE/quietly.log" >&2
    fail "could not find out which plugins belong to this installation"
  }
  ours=label=org.bigskies.installation=$installation
  docker ps --quiet --filter "$ours" | quietly each docker stop -t 30
  docker ps --all --quiet --filter "$ours" | quietly each docker rm --force --volumes
  docker network ls --quiet --filter "$ours" | but_for_networks plugin_networks each docker network rm
  [ -z "$purge" ] || docker volume ls --quiet --filter "$ours" | quietly each docker volume rm
}

"$ROOT/deploy/engine.sh" status >/dev/null 2>&1 || {
  [ -z "$purge" ] || fail "no container engine answers: to delete the data it must run. Try: make up, then make down PURGE=1"
  say "No container engine answers, so nothing runs. Data is kept."
  exit 0
}

mkdir -p "$CACHE"
# First the one that would start plugins again, then its plugins, which can still say goodbye to the broker.
quietly compose stop plugin-coordinator
end_plugins
if [ -n "$purge" ]; then
  but_for_networks framework compose down --remove-orphans --volumes
  rm -rf "${BIGSKIES_OPERATOR_DIR:-$ROOT/.bigskies}"
  say "BIG SKIES is down, its data is deleted."
else
  but_for_networks framework compose down --remove-orphans
  say "BIG SKIES is down, its data is kept. Delete it with: make down PURGE=1"
fi
