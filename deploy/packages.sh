#!/usr/bin/env bash
# packages.sh GROUP...: sees to the Debian packages that a group of commands needs.
#
# Groups: run (to talk to an engine), engine (to have one), build, test, lint, fuzz. Quick when everything is there. What is missing is installed as root on Debian; elsewhere
# the script says what it needs and fails.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# needs GROUP: one line for each thing, `COMMAND-OR-FILE:PACKAGE`.
needs() {
  local go=/usr/share/gocode/src
  case $1 in
    run) printf '%s\n' docker:docker-cli curl:curl jq:jq ;;
    engine) printf '%s\n' dockerd:docker.io iptables:iptables ip:iproute2 ;;
    build) printf '%s\n' cc:gcc make:make /etc/ssl/certs/ca-certificates.crt:ca-certificates ;;
    test) printf '%s\n' mosquitto_pub:mosquitto-clients docker-registry:docker-registry htpasswd:apache2-utils jq:jq go:golang-go \
      "$go/github.com/eclipse/paho.mqtt.golang:golang-github-eclipse-paho.mqtt.golang-dev" \
      "$go/github.com/gorilla/websocket:golang-github-gorilla-websocket-dev" \
      "$go/golang.org/x/sync:golang-golang-x-sync-dev" ;;
    lint) printf '%s\n' shellcheck:shellcheck ;;
    # The fuzzer itself is C++.
    fuzz) printf '%s\n' c++:g++ ;;
    *) fail "there is no group of packages named '$1'; the groups are run, engine, build, test, lint and fuzz" ;;
  esac
}

present() { case $1 in /*) [ -e "$1" ] ;; *) have "$1" ;; esac }

missing=()
for group in "$@"; do
  entries=$(needs "$group")
  for entry in $entries; do
    present "${entry%:*}" || missing+=("${entry##*:}")
  done
done
[ ${#missing[@]} -gt 0 ] || exit 0

is_debian || fail "missing on this machine: ${missing[*]} (names of Debian's packages). Install them and run this again."
is_root || fail "missing on this machine: ${missing[*]}. Install them (apt-get install ${missing[*]}), or run this as root."

say "packages: installing ${missing[*]}"
install() {
  local package packages=()
  for package in "${missing[@]}"; do
    # Before Debian 13 the engine's command line came with the engine.
    if [ "$package" = docker-cli ] && ! apt-cache show docker-cli >/dev/null 2>&1; then package=docker.io; fi
    packages+=("$package")
  done
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${packages[@]}" >"$CACHE/packages.log" 2>&1
}
update() { apt-get update -qq >"$CACHE/packages.log" 2>&1; }

mkdir -p "$CACHE"
# A machine that never asked its mirror knows no package; one that asked long ago knows old ones.
apt-cache show "${missing[-1]}" >/dev/null 2>&1 || update || true
install || { update && install; } || {
  tail -20 "$CACHE/packages.log" >&2
  fail "apt-get could not install ${missing[*]}; the whole log is $CACHE/packages.log"
}

# Debian starts what it installs; an open registry is nothing that a test should leave on a machine.
if [ -d /run/systemd/system ] && [[ " ${missing[*]} " = *" docker-registry "* ]]; then
  systemctl disable --quiet --now docker-registry
fi
