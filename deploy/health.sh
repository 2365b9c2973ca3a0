# shellcheck shell=bash
# How the coordinators are. Sourced after lib.sh, never run.

COORDINATORS='plugin-coordinator security-coordinator message-coordinator'

compose() { "$ROOT/deploy/compose.sh" --profile tools --profile registry "$@"; }

# container_of SERVICE: its container's id; nothing when there is none.
container_of() { compose ps --all --quiet "$1" 2>/dev/null; }

# health_of SERVICE: what the coordinator says of itself now (docker asks it the same, but not as often): healthy
# only when it works with the broker and the other two. Its container's state when that does not run.
health_of() {
  local container state
  container=$(container_of "$1")
  state=$(docker inspect --format '{{.State.Status}}' "$container" 2>/dev/null) || state='not created'
  if [ "$state" = running ]; then docker exec "$container" "/$1" health 2>&1 | head -1 || true; else echo "$state"; fi
}

all_healthy() {
  local service
  for service in $COORDINATORS; do [ "$(health_of "$service")" = healthy ] || return 1; done
}
