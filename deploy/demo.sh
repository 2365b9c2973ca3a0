#!/usr/bin/env bash
# demo.sh: a plugin's whole life, from its build to its removal, on the framework that `make up` started.
#
# Builds the sample plugin, pushes it to a registry on this machine, installs and starts it, shows its state,
# health and token, shows that the broker refuses what it was not granted, stops it and removes it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/health.sh"
. "$(dirname "$0")/operator.sh"

PLUGIN=hello-rust
SOURCE=$ROOT/plugins/examples/$PLUGIN
REGISTRY=127.0.0.1:${BIGSKIES_REGISTRY_PORT:-5000}
IMAGE=$REGISTRY/$PLUGIN:1.0.0
STAGE=$CACHE/demo

step=0
title() {
  step=$((step + 1))
  printf '\n\033[1m%d. %s\033[0m\n' "$step" "$*"
}
# run COMMAND...: shows a command as one would type it, then what it prints.
run() {
  local word line=
  for word in "$@"; do
    # As it would have to be typed: in quotes where the shell would change it.
    case $word in *[!A-Za-z0-9_./:@%+=,-]*) word="'$word'" ;; esac
    line+=" $word"
  done
  printf '\033[2m$%s\033[0m\n' "$line"
  "$@"
}

start_registry() {
  quietly "$ROOT/deploy/build-images.sh" registry
  (quietly compose up --detach --no-build --no-deps registry) ||
    fail "the registry could not be started; if port ${REGISTRY#*:} is taken, BIGSKIES_REGISTRY_PORT chooses another, for make up and make demo"
  registry_answers() { curl -fsS "http://$REGISTRY/v2/" >/dev/null 2>&1; }
  wait_for 20 registry_answers || fail "the registry does not answer on $REGISTRY"
}

build_plugin() {
  local manifest
  manifest=$(cat "$SOURCE/plugin.json")
  rm -rf "$STAGE"
  mkdir -p "$STAGE"
  if have cargo; then
    cp "$("$ROOT/deploy/build-programs.sh" "$PLUGIN")/$PLUGIN" "$SOURCE/plugin.json" "$STAGE/"
    quietly docker build --file "$SOURCE/Dockerfile.scratch" --label "org.bigskies.plugin.manifest=$manifest" --tag "$IMAGE" "$STAGE"
  else
    quietly docker build --label "org.bigskies.plugin.manifest=$manifest" --tag "$IMAGE" "$SOURCE"
  fi
  quietly docker push "$IMAGE"
}

container() {
  docker ps --quiet --filter "label=org.bigskies.installation=$(compose run --rm --no-deps --no-TTY init installation 2>/dev/null)" \
    --filter "label=org.bigskies.plugin_id=$PLUGIN"
}

# as_plugin CLIENT ARGUMENTS...: one of Mosquitto's clients with the login that the running plugin was given. The
# password goes through the standard input: a process list shows every argument.
as_plugin() {
  # It is written where the client looks for its defaults, in the memory of a container that then ends.
  # shellcheck disable=SC2016  # what is in single quotes is for the shell in the container
  docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$(container)" |
    sed -n 's/^MQTT_USERNAME=/-u /p; s/^MQTT_PASSWORD=/-P /p' |
    compose run --rm --no-TTY --no-deps tools sh -c '
      export XDG_CONFIG_HOME=/dev/shm
      cat >"$XDG_CONFIG_HOME/$1" && exec "$@"' sh "$@"
}

# must_be_refused WHAT COMMAND...: the point of the demonstration: what is not refused is a failure.
must_be_refused() {
  local what=$1 answer
  shift
  answer=$(as_plugin "$@" 2>&1 || true)
  if grep -qiE 'not authori[sz]ed|denied|RC:135' <<<"$answer"; then
    say "refused by the broker: $what"
  else
    say "$answer"
    fail "the broker did not refuse: $what"
  fi
}

title "Build a plugin and push it to a registry"
check_up
start_registry
build_plugin
say "$IMAGE: $(($(docker image inspect --format '{{.Size}}' "$IMAGE") / 1000)) kB, manifest in its label"

title "Install it"
bigskies --quiet plugin remove "$PLUGIN" --yes >/dev/null 2>&1 || true
run bigskies plugin install "$IMAGE" --id "$PLUGIN"

title "Start it: the command returns when the plugin has said that it is healthy"
run bigskies plugin start "$PLUGIN"

title "Look at it"
run bigskies status
run bigskies plugin inspect "$PLUGIN"

title "Its token, decoded: it says who the plugin is and what it may ask for"
run bigskies token show "$PLUGIN"

title "Talk to it, and read what it wrote"
run bigskies plugin control "$PLUGIN" ping '{"say": "hello"}'
run bigskies plugin logs "$PLUGIN" --tail 5

title "What it may do, and what the broker refuses to it"
run bigskies acl explain "$PLUGIN" publish "bigskies/plugin/$PLUGIN/status"
run bigskies acl explain "$PLUGIN" publish "bigskies/coordinator/plugin/install"
must_be_refused "to publish to bigskies/coordinator/plugin/install" \
  mosquitto_pub -V 5 -q 1 -d -h mqtt-broker -t bigskies/coordinator/plugin/install -m '{}'
must_be_refused "to publish as another plugin, to bigskies/plugin/other/health" \
  mosquitto_pub -V 5 -q 1 -d -h mqtt-broker -t bigskies/plugin/other/health -m '{}'
must_be_refused "to subscribe to everything (#)" \
  mosquitto_sub -V 5 -q 1 -d -W 5 -h mqtt-broker -t '#'
must_be_refused "to subscribe to the token of another plugin" \
  mosquitto_sub -V 5 -q 1 -d -W 5 -h mqtt-broker -t bigskies/coordinator/security/plugin/other/token

title "Stop it and remove it"
run bigskies plugin stop "$PLUGIN"
run bigskies plugin remove "$PLUGIN"
run bigskies plugin list
compose rm --stop --force registry >/dev/null 2>&1

say
say "That was a plugin's whole life. Write your own: plugins/examples/$PLUGIN is a start to copy."
