#!/usr/bin/env bash
# up.sh: brings the whole framework up and waits until its three coordinators are healthy. Run again, it
# changes nothing. BIGSKIES_BUILD=0 takes the images that are there instead of building them.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/health.sh"

PATIENCE=${BIGSKIES_UP_SECONDS:-120}
PORT=${BIGSKIES_MQTT_PORT:-1883}

# gives_up: a coordinator that ends again and again (bad configuration, say) will not get healthy by waiting.
gives_up() {
  local service state
  for service in $COORDINATORS; do
    state=$(docker inspect --format '{{.State.Restarting}} {{.RestartCount}}' "$(container_of "$service")" 2>/dev/null) || continue
    case $state in "true "[0-4]) ;; true*) return 0 ;; esac
  done
  return 1
}
settled() { all_healthy || gives_up; }

explain() {
  local service health
  for service in $COORDINATORS; do
    health=$(health_of "$service")
    note "  $service: $health"
    if [ "$health" != healthy ]; then docker logs --tail 15 "$(container_of "$service")" 2>&1 | sed 's/^/    /' >&2; fi
  done
  fail "not every coordinator is healthy; follow them with: deploy/compose.sh logs --follow"
}

start() {
  "$ROOT/deploy/compose.sh" up --detach --no-build --quiet-pull >"$CACHE/up.log" 2>&1 && return
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
wait_for "$PATIENCE" settled || true
all_healthy || explain
tell
