#!/usr/bin/env bash
# own-engine.sh up [IMAGE...]|down|kill|stop|start|run COMMAND...: a container engine of one's own, which may be killed.
# It has a network of its own too, so that this machine's engine and its rules for packets are left alone.
#
# up: starts it, with the framework's images and these. down: ends it and deletes everything of it. kill: SIGKILL.
# stop: in good order, as the host does when it goes down. start: again after that; returns when it answers. run: a
# command with this engine, in its network. BIGSKIES_OWN_ENGINE names it: those with different names can be beside
# each other.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

NAME=${BIGSKIES_OWN_ENGINE:-bigskies-drill}
RUN=/run/$NAME
DATA=$CACHE/$NAME
SOCKET=$RUN/docker.sock
PID_FILE=$RUN/docker.pid
LOG=$CACHE/$NAME.log
IMAGES='broker plugin-coordinator security-coordinator message-coordinator init tools cli forwarder registry'

answers() { timeout 5 curl -fsS --unix-socket "$SOCKET" http://engine/_ping >/dev/null 2>&1; }
alive() { is_process dockerd "$(cat "$PID_FILE" 2>/dev/null)"; }
gone() { ! alive; }
inside() { nsenter --net="/run/netns/$NAME" "$@"; }

# The containerd of an engine that was killed keeps the next one from starting.
end_containerd() {
  local pid
  pid=$(cat "$RUN/exec/containerd/containerd.pid" 2>/dev/null || true)
  containerd_gone() { ! is_process containerd "$pid"; }
  if ! containerd_gone; then
    kill "$pid"
    wait_for 5 containerd_gone || kill -9 "$pid" 2>/dev/null || true
  fi
  rm -f "$RUN/exec/containerd/containerd.pid"
}

start() {
  ! alive || return 0
  end_containerd
  rm -f "$PID_FILE" "$SOCKET"
  setsid nohup nsenter --net="/run/netns/$NAME" dockerd -H "unix://$SOCKET" --data-root "$DATA" --exec-root "$RUN/exec" \
    --pidfile "$PID_FILE" --cgroup-parent "/$NAME" >>"$LOG" 2>&1 </dev/null &
  local pid=$!
  up_or_dead() { answers || ! kill -0 "$pid" 2>/dev/null; }
  wait_for 90 up_or_dead || true
  answers || {
    tail -20 "$LOG" >&2
    fail "the engine $NAME did not come up; its whole log is $LOG"
  }
}

load() {
  local image images=("$@")
  for image in $IMAGES; do images+=("bigskies/$image:$VERSION"); done
  docker save "${images[@]}" |
    DOCKER_HOST=unix://$SOCKET docker load --quiet >/dev/null
}

up() {
  is_root || fail "an engine of one's own, with a network of its own, takes root; run this as root"
  have dockerd && have nsenter && have ip || fail "dockerd, nsenter or ip is missing; run: deploy/packages.sh engine"
  down
  mkdir -p "$RUN" "$DATA"
  : >"$LOG"
  ip netns add "$NAME"
  ip -n "$NAME" link set lo up
  inside sysctl -qw net.ipv4.ip_forward=1
  start
  load "$@"
}

down() {
  local containers
  if answers; then
    containers=$(DOCKER_HOST=unix://$SOCKET docker ps --all --quiet)
    # shellcheck disable=SC2086  # several words
    [ -z "$containers" ] || DOCKER_HOST=unix://$SOCKET docker rm --force --volumes $containers >/dev/null 2>&1 || true
  fi
  if alive; then
    kill "$(cat "$PID_FILE")"
    wait_for 30 gone || kill -9 "$(cat "$PID_FILE")" 2>/dev/null || true
  fi
  end_containerd
  ip netns delete "$NAME" 2>/dev/null || true
  # What an engine that was killed left mounted.
  awk -v data="$DATA" -v run="$RUN" '$2 == data || index($2, data "/") == 1 || index($2, run "/") == 1 { print $2 }' /proc/mounts |
    sort -r | xargs --no-run-if-empty umount --lazy
  rm -rf "$DATA" "$RUN"
}

case ${1:-} in
  up)
    shift
    up "$@"
    ;;
  down) down ;;
  kill)
    alive || fail "the engine $NAME does not run"
    kill -9 "$(cat "$PID_FILE")"
    wait_for 10 gone
    ;;
  stop)
    alive || fail "the engine $NAME does not run"
    kill "$(cat "$PID_FILE")"
    # It gives every container its time to end.
    wait_for 60 gone || fail "the engine $NAME did not end within 60 s; its log is $LOG"
    ;;
  start) start ;;
  run)
    shift
    export BIGSKIES_ENGINE_SOCKET=$SOCKET DOCKER_HOST=unix://$SOCKET
    # Itself, not a child: whoever ends this means the command.
    exec nsenter --net="/run/netns/$NAME" "$@"
    ;;
  *) fail "usage: $0 up [IMAGE...]|down|kill|stop|start|run COMMAND..." ;;
esac
