#!/usr/bin/env bash
# engine.sh start|stop|status: a container engine that answers.
#
# start: leaves an engine that answers alone; else installs one (root on Debian) and starts it.
# stop:  stops the engine only when this checkout started it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

SOCKET=$BIGSKIES_ENGINE_SOCKET
RUN=/var/run/docker
PID_FILE=/var/run/docker.pid
OURS=$CACHE/engine/started-by-us
LOG=$CACHE/engine/dockerd.log

answers() { timeout 5 curl -fsS --unix-socket "$SOCKET" http://engine/_ping >/dev/null 2>&1; }
engine_alive() { is_process dockerd "$(cat "$PID_FILE" 2>/dev/null)"; }
engine_gone() { ! engine_alive; }
# A process is ours when it is the very one: the id alone may have been given to another since.
fingerprint() { printf '%s %s\n' "$1" "$(cut -d' ' -f22 "/proc/$1/stat" 2>/dev/null)"; }
is_ours() { [ -s "$OURS" ] && is_process dockerd "$(cut -d' ' -f1 "$OURS")" && [ "$(fingerprint "$(cut -d' ' -f1 "$OURS")")" = "$(cat "$OURS")" ]; }

service_manager_runs() { [ -d /run/systemd/system ]; }

mount_cgroups() {
  if mountpoint -q /sys/fs/cgroup; then
    [ -e /sys/fs/cgroup/cgroup.controllers ] || [ -d /sys/fs/cgroup/memory ] && return 0
  fi
  if have cgroupfs-mount; then cgroupfs-mount; else mount -t cgroup2 cgroup2 /sys/fs/cgroup; fi
}

# An engine that is still starting (or stopping) answers later; one that never does is ended.
settle() {
  engine_alive || return 1
  settled() { answers || engine_gone; }
  wait_for 30 settled || true
  answers && return 0
  engine_alive || return 1
  note "engine: process $(cat "$PID_FILE") holds $PID_FILE and does not answer on $SOCKET; ending it"
  kill "$(cat "$PID_FILE")" 2>/dev/null || true
  wait_for 5 engine_gone || kill -9 "$(cat "$PID_FILE")" 2>/dev/null || true
  return 1
}

# The containerd of an engine that was killed keeps the next one from starting.
end_left_over_containerd() {
  local file="$RUN/containerd/containerd.pid" pid
  pid=$(cat "$file" 2>/dev/null || true)
  gone() { ! is_process containerd "$pid"; }
  if ! gone; then
    kill "$pid"
    wait_for 5 gone || kill -9 "$pid" 2>/dev/null || true
  fi
  rm -f "$PID_FILE" "$SOCKET" "$file"
}

start() {
  "$ROOT/deploy/packages.sh" run
  if answers; then
    say "engine: answers on $SOCKET"
    return
  fi
  [ "$SOCKET" = /var/run/docker.sock ] ||
    fail "no container engine answers on $SOCKET (from BIGSKIES_ENGINE_SOCKET or DOCKER_HOST). Start it, or unset the variable."
  is_root || fail "no container engine answers on $SOCKET. Start Docker (20.10 or later), let your user reach its socket, and run this again; as root on Debian this installs and starts it for you."
  if ! have dockerd; then
    is_debian || fail "no container engine answers on $SOCKET and dockerd is not installed. Install Docker (20.10 or later) and start it."
    "$ROOT/deploy/packages.sh" engine
    answers && {
      say "engine: installed, answers on $SOCKET"
      return
    }
  fi
  if service_manager_runs; then
    systemctl start docker
    wait_for 60 answers || fail "the service docker was started and does not answer on $SOCKET; see: journalctl -u docker"
    say "engine: started as the service docker (it keeps running)"
    return
  fi
  if settle; then
    say "engine: came up on $SOCKET"
    return
  fi
  end_left_over_containerd
  mount_cgroups
  mkdir -p "$(dirname "$OURS")"
  setsid nohup dockerd -H "unix://$SOCKET" --pidfile "$PID_FILE" --exec-root "$RUN" >"$LOG" 2>&1 </dev/null &
  local pid=$!
  # Restoring the containers of an engine that crashed takes ten seconds and more.
  up_or_dead() { answers || ! kill -0 "$pid" 2>/dev/null; }
  wait_for 60 up_or_dead || true
  answers || {
    tail -20 "$LOG" >&2
    fail "dockerd did not come up; its whole log is $LOG"
  }
  fingerprint "$pid" >"$OURS"
  say "engine: started, answers on $SOCKET"
}

stop() {
  is_ours || {
    rm -f "$OURS"
    say "engine: not started from here, left alone"
    return
  }
  local pid
  pid=$(cut -d' ' -f1 "$OURS")
  stopped() { ! is_process dockerd "$pid"; }
  kill "$pid"
  wait_for 30 stopped || kill -9 "$pid" 2>/dev/null || true
  rm -f "$OURS"
  say "engine: stopped"
}

case ${1:-} in
  start) once engine start ;;
  stop) once engine stop ;;
  status) if answers; then say "engine: answers on $SOCKET"; else fail "no container engine answers on $SOCKET; start one with: make up"; fi ;;
  *) fail "usage: $0 start|stop|status" ;;
esac
