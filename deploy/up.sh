#!/usr/bin/env bash
# up.sh: brings the whole framework up and waits until its three coordinators are healthy. Run again, it
# changes nothing. BIGSKIES_BUILD=0 takes the images that are there instead of building them.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

COORDINATORS='plugin-coordinator security-coordinator message-coordinator'
PATIENCE=${BIGSKIES_UP_SECONDS:-120}
PORT=${BIGSKIES_MQTT_PORT:-1883}

compose() { "$ROOT/deploy/compose.sh" "$@"; }

# health_of SERVICE: what the coordinator says of itself now (docker asks it the same, but not as often): healthy
# only when it works with the broker and the other two. Its container's state when that does not run.
health_of() {
  local container state
  container=$(compose ps --all --quiet "$1" 2>/dev/null)
  state=$(docker inspect --format '{{.State.Status}}' "$container" 2>/dev/null) || state='not created'
  if [ "$state" = running ]; then docker exec "$container" "/$1" health 2>&1 | head -1 || true; else echo "$state"; fi
}

all_healthy() {
  local service
  for service in $COORDINATORS; do [ "$(health_of "$service")" = healthy ] || return 1; done
}

explain() {
  local service health
  for service in $COORDINATORS; do
    health=$(health_of "$service")
    note "  $service: $health"
    if [ "$health" != healthy ]; then docker logs --tail 15 "$(compose ps --all --quiet "$service")" 2>&1 | sed 's/^/    /' >&2; fi
  done
  fail "not every coordinator was healthy within $PATIENCE s; follow them with: deploy/compose.sh logs --follow"
}

start() {
  compose up --detach --no-build --quiet-pull >"$CACHE/up.log" 2>&1 && return
  cat "$CACHE/up.log" >&2
  if grep -q 'port is already allocated\|address already in use' "$CACHE/up.log"; then
    fail "port $PORT on 127.0.0.1 is taken: choose another with BIGSKIES_MQTT_PORT=... make up"
  fi
  if grep -q 'Pool overlaps\|could not find an available, non-overlapping' "$CACHE/up.log"; then
    fail "the engine has no addresses left for another network: remove unused ones with: docker network prune"
  fi
  fail "compose could not start the framework"
}

tell() {
  local service login=${BIGSKIES_OPERATOR_DIR:-.bigskies}/operator.env
  say
  say "BIG SKIES is up."
  for service in $COORDINATORS; do printf '  %-22s %s\n' "$service" "$(health_of "$service")"; done
  printf '  %-22s 127.0.0.1:%s on this machine, mqtt-broker:1883 on the network %s\n' broker "$PORT" "${BIGSKIES_NETWORK:-bigskies-network}"
  printf '  %-22s %s\n' "operator's login" "$login"
  say
  say "Log in:       . $login; the four variables MQTT_HOST MQTT_PORT MQTT_USERNAME MQTT_PASSWORD are set then"
  if [ -x "$CACHE/bin/bigskies" ]; then say "Look around:  ${CACHE#"$ROOT/"}/bin/bigskies status"; fi
  say "See it work:  make demo"
  say "Stop it:      make down"
}

mkdir -p "$CACHE"
"$ROOT/deploy/engine.sh" start
[ "${BIGSKIES_BUILD:-1}" = 0 ] || "$ROOT/deploy/build-images.sh"
start
wait_for "$PATIENCE" all_healthy || explain
tell
