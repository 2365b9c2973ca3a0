#!/usr/bin/env bash
# rotate.sh: renews every secret that was generated, while the framework runs: the coordinators' logins and
# encryption keys, the signing keys, the plugins' logins and tokens, the operator's password, the broker's
# certificate. Ends when everything is healthy with the new ones. Interrupted, it can be run again.
#
# Each coordinator gets a second login beside the first before it is restarted; running plugins are restarted one
# after another. Certificates of clients stay as they are: the authority that vouches for the broker is not renewed.
#
# The signing key changes twice: first the next one signs, which existed before, and a new one is made, then that one.
# It may sign only some time after it was published, which begins anew when the security coordinator restarts.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/health.sh"
. "$(dirname "$0")/operator.sh"

# How long a coordinator may take to be healthy after its restart.
PATIENCE=${BIGSKIES_UP_SECONDS:-120}
# How long the next signing key may have to be waited for.
KEY_PATIENCE=180

stage() { compose --profile rotate run --rm --no-TTY rotate "$1"; }

# rotate_key: waits while the coordinator says that it is too early, and fails at once for any other reason.
rotate_key() {
  local deadline=$((SECONDS + KEY_PATIENCE)) told code
  until told=$(bigskies --json key rotate 2>&1 >/dev/null); do
    code=$(printf '%s' "$told" | jq -r '.error.code' 2>/dev/null) || code=
    [ "$code" = too_many_requests ] && [ "$SECONDS" -lt "$deadline" ] ||
      fail "the signing key could not be changed: $told"
    sleep "$(printf '%s' "$told" | jq -r '(.error.details.retry_after_seconds // 5) | [., 10] | min')"
  done
}

restart_coordinators() {
  local service
  for service in $COORDINATORS; do
    quietly compose restart "$service"
    wait_for "$PATIENCE" all_healthy || fail "$service is not healthy with its new login: $(health_of "$service"). Its old login still works; see its log, then run this again"
    say "$service: restarted, healthy"
  done
}

# Every plugin that runs, or would, gets a new container: with a new password and a new token. One that does not get
# ready again is told of and keeps no other from it: what was to be renewed is renewed.
restart_plugins() {
  local id phase list
  list=$(bigskies --json plugin list |
    jq -r '.plugins[] | select(.phase == ("running", "starting", "failed")) | "\(.plugin_id) \(.phase)"')
  while read -r id phase <&3; do
    [ -n "$id" ] || continue
    if bigskies --quiet plugin stop "$id" && bigskies --quiet plugin start "$id"; then
      say "$id: restarted, ready"
    elif [ "$phase" = failed ]; then
      say "$id: had failed before, and did again"
    else
      unready="$unready $id"
    fi
  done 3<<<"$list"
}

mkdir -p "$CACHE"
check_up
have jq || fail "jq is needed to read lists: install it, then run this again"
unready=
say "1. The next signing key signs, and a new one is made"
rotate_key
say "2. New logins beside the old ones"
stage prepare
say "3. Coordinators go over to them"
stage switch
restart_coordinators
say "4. Plugins get new logins and tokens"
restart_plugins
say "5. The old ones go"
stage finish
docker kill --signal HUP "$(container_of mqtt-broker)" >/dev/null
wait_for "$PATIENCE" all_healthy || fail "not every coordinator is healthy; make up tells which, and why"
say "6. The new signing key signs"
rotate_key
bigskies status
[ -z "$unready" ] || fail "every secret is renewed, but not ready again:$unready. See: bigskies plugin list"
