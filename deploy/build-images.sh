#!/usr/bin/env bash
# build-images.sh [NAME...]: builds the framework's images on this machine, with no registry. Leaves the
# operator's command line, which is built along, in .cache/bin.
#
# Programs are built here with Rust, static, and put into empty images; the broker is Debian 13's
# (deploy/broker-root.sh). deploy/Dockerfile makes the same images where base images can be pulled and
# nothing but an engine is wanted on the host. An image whose content did not change is left alone.
#
# BIGSKIES_PROFILE: the Cargo profile of the programs, see deploy/build-programs.sh.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

COORDINATORS='plugin-coordinator security-coordinator message-coordinator'
# What the framework runs on; the registry is built for who names it, and so is the plugin coordinator that holds
# where the drill wants to kill it.
USUAL="$COORDINATORS init cli broker tools forwarder"
DRILL=plugin-coordinator-drill
ALL="$USUAL registry $DRILL"
STAGE=$CACHE/images
# Files in an image are as old as this, so that the same content makes the same image.
EPOCH='1970-01-01 00:00:00 UTC'

# package_of NAME, program_of NAME, user_of NAME: what fills an image and who runs in it. The plugin
# coordinator is root (without a capability): the engine's socket has another group on each host.
package_of() { case $1 in init | broker) echo bigskies-init ;; cli) echo bigskies ;; *) echo "$1" ;; esac }
program_of() { case $1 in init | broker) echo bigskies-init ;; cli) echo bigskies ;; forwarder) echo bigskies-forwarder ;; "$DRILL") echo plugin-coordinator ;; *) echo "$1" ;; esac }
image_of() { case $1 in "$DRILL") echo "bigskies/plugin-coordinator:$VERSION-drill" ;; *) echo "bigskies/$1:$VERSION" ;; esac }
user_of() {
  case $1 in
    broker) echo 64100 ;;
    message-coordinator) echo 64101 ;;
    security-coordinator) echo 64102 ;;
    cli | tools) echo 64103 ;;
    registry) echo 64104 ;;
    forwarder) echo 65534 ;;
    *) echo 0 ;;
  esac
}

# Built together; the drill's has other features.
has_program() { case $1 in tools | registry | "$DRILL") false ;; *) true ;; esac }
wanted() { case " ${names[*]} " in *" $1 "*) true ;; *) false ;; esac }

# build_programs NAME...: builds what fills these images, and sets `programs` to the folder that it is in.
build_programs() {
  local name packages=()
  for name in "$@"; do
    if has_program "$name"; then packages+=("$(package_of "$name")"); fi
  done
  [ ${#packages[@]} -gt 0 ] || return 0
  programs=$("$ROOT/deploy/build-programs.sh" "${packages[@]}")
}

# stage NAME: lays out what goes into an image, below $STAGE/NAME/root.
stage() {
  local name=$1 root=$STAGE/$1/root
  rm -rf "${STAGE:?}/$name"
  mkdir -p "$root"
  if has_program "$name" || [ "$name" = $DRILL ]; then install -m 755 "$programs/$(program_of "$name")" "$root/$(program_of "$name")"; fi
  case $name in
    *-coordinator | "$DRILL" | cli | registry) install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt" ;;
  esac
  case $name in
    broker) stage_usr "$root" usr/sbin/mosquitto
      install -D -m 644 -t "$root/etc" "$ROOT"/deploy/broker/mosquitto*.conf ;;
    tools) stage_usr "$root" usr/bin/mosquitto_pub usr/bin/mosquitto_sub usr/bin/mosquitto_rr usr/bin/busybox
      local applet
      for applet in sh cat sleep env; do ln -s busybox "$root/usr/bin/$applet"; done ;;
    registry) stage_registry "$root" ;;
  esac
  dockerfile "$name" >"$STAGE/$name/Dockerfile"
  find "$STAGE/$name" -exec touch -h -d "$EPOCH" {} +
}

# stage_usr ROOT FILE...: files of Debian 13's broker with the libraries that they are linked to.
stage_usr() {
  local root=$1 file
  shift
  (cd "$broker_root" && cp -a --parents usr/lib* "$@" -t "$root")
  # Programs look for their loader in /lib or /lib64, and Debian's /bin is /usr/bin.
  for file in bin sbin lib lib64; do ln -s "usr/$file" "$root/$file"; done
}

# Debian's docker-registry, which is not installed: that would start one on all addresses.
stage_registry() {
  local root=$1 unpacked=$STAGE/registry/unpacked library
  mkdir "$STAGE/registry/data" "$unpacked"
  is_debian || fail "the image of the registry is made from Debian's package docker-registry and this is not Debian"
  (cd "$unpacked" && { apt-get download -qq docker-registry || { apt-get update -qq && apt-get download -qq docker-registry; }; }) >"$STAGE/log" 2>&1 || {
    cat "$STAGE/log" >&2
    fail "Debian's package docker-registry could not be fetched"
  }
  dpkg-deb -x "$unpacked"/*.deb "$unpacked"
  install -D -m 755 "$unpacked/usr/bin/docker-registry" "$root/registry"
  # Its libraries are this machine's, which is of the same release.
  ldd "$root/registry" | grep -oE '/[^ ]+' | sort -u | while read -r library; do
    install -D -m 755 "$(readlink -f "$library")" "$root$library"
  done
  rm -rf "$unpacked"
  install -D -m 644 "$ROOT/deploy/registry/config.yml" "$root/etc/registry.yml"
}

dockerfile() {
  local name=$1
  echo 'FROM scratch'
  echo 'COPY root/ /'
  # A new volume takes over the owner of the folder that it is mounted on.
  [ "$name" != registry ] || echo "COPY --chown=$(user_of registry):$(user_of registry) data/ /data"
  echo "LABEL org.opencontainers.image.title=\"bigskies/$name\" org.opencontainers.image.version=\"$VERSION\""
  echo "USER $(user_of "$name"):$(user_of "$name")"
  # One arena for all threads: what one has freed is there for the next.
  case $name in *-coordinator | "$DRILL") echo 'ENV MALLOC_ARENA_MAX=1' ;; esac
  case $name in
    broker) echo 'ENTRYPOINT ["/bigskies-init", "broker"]' ;;
    init) echo 'ENTRYPOINT ["/bigskies-init"]' ;;
    tools) echo 'ENV PATH=/usr/bin' && echo 'CMD ["sh"]' ;;
    registry) echo 'ENTRYPOINT ["/registry", "serve", "/etc/registry.yml"]' ;;
    *) echo "ENTRYPOINT [\"/$(program_of "$name")\"]" ;;
  esac
}

# build NAME: an image labelled with the digest of its content; the one that is there stays when it has it.
build() {
  local name=$1 image digest present
  image=$(image_of "$1")
  stage "$name"
  digest=$(cd "$STAGE/$name" && tar -c --sort=name --owner=0 --group=0 --numeric-owner . | sha256sum | cut -d' ' -f1)
  present=$(docker image inspect --format '{{index .Config.Labels "org.bigskies.content"}}' "$image" 2>/dev/null || true)
  if [ "$present" = "$digest" ]; then
    say "image: $image is up to date"
  else
    DOCKER_BUILDKIT=0 docker build --quiet --label "org.bigskies.content=$digest" --tag "$image" "$STAGE/$name" >/dev/null 2>"$STAGE/log" || {
      cat "$STAGE/log" >&2
      fail "$image could not be built"
    }
    say "image: $image built, $(($(docker image inspect --format '{{.Size}}' "$image") / 1000000)) MB"
  fi
  rm -rf "${STAGE:?}/$name"
  if [ "$name" = cli ]; then install -D -m 755 "$programs/bigskies" "$CACHE/bin/bigskies"; fi
}

main() {
  if ! have cargo; then
    ! wanted $DRILL || fail "the drill's plugin coordinator is built with Rust alone; install it: https://rustup.rs"
    # No Rust here: in containers then, from base images of a registry.
    "$ROOT/deploy/compose.sh" --profile tools --profile registry build ||
      fail "the images could not be built: install Rust (https://rustup.rs) and run this again, or let the engine reach an image registry"
    return
  fi
  build_programs "${names[@]}"
  if wanted broker || wanted tools; then broker_root=$("$ROOT/deploy/broker-root.sh"); fi
  mkdir -p "$STAGE"
  for name in "${names[@]}"; do [ "$name" = $DRILL ] || build "$name"; done
  # Last: its program takes the place of the ordinary one where Cargo leaves them. Built with all the others, so that
  # Cargo takes what they share as it is.
  if wanted $DRILL; then
    read -r -a usual <<<"$USUAL"
    BIGSKIES_FEATURES=plugin-coordinator/drill build_programs "${usual[@]}"
    build $DRILL
  fi
  # What these replaced, unless a container still runs it.
  docker image prune --force --filter label=org.bigskies.content >/dev/null
}

read -r -a names <<<"${*:-$USUAL}"
for name in "${names[@]}"; do
  case " $ALL " in *" $name "*) ;; *) fail "there is no image named '$name'; the images are: $ALL" ;; esac
done
once images main
