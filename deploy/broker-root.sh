#!/usr/bin/env bash
# broker-root.sh: Debian 13's Mosquitto (2.0.16 or later is needed) with all that it needs to run, in a
# folder of this checkout. Prints the folder. Quick when it is there.
#
# On this machine `run-mosquitto ARGUMENTS` in the folder starts the broker from any directory (likewise
# run-mosquitto_pub, run-mosquitto_sub, run-mosquitto_rr), and `dynamic-security.so` is its plugin.
# Where no registry can be reached, the folder's `usr` fills the images of broker and tools.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

dest=$CACHE/broker-root
# A folder that an older version of this script made is made again.
recipe=1

make_wrapper() {
  cat >"$1" <<WRAPPER
#!/bin/sh
# Starts $2 with the libraries that it was built for, not this machine's.
root=\$(cd "\$(dirname "\$0")" && pwd)
exec "\$root/$3" --library-path "\$root/$4" "\$root/$2" "\$@"
WRAPPER
  chmod 755 "$1"
}

build() {
  [ "$(cat "$dest/recipe" 2>/dev/null)" != "$recipe" ] || return 0
  local tree=$CACHE/debian13/mosquitto new=$CACHE/broker-root.new programs loader plugin libraries file
  "$ROOT/deploy/debian13.sh" mosquitto mosquitto-clients busybox-static -- "$tree" >&2
  rm -rf "$new"
  mkdir -p "$new"

  cd "$tree"
  programs='usr/sbin/mosquitto usr/bin/mosquitto_pub usr/bin/mosquitto_sub usr/bin/mosquitto_rr'
  loader=$(find usr/lib -name 'ld-linux*.so.*' -type f | head -1)
  plugin=$(find usr/lib -name mosquitto_dynamic_security.so | head -1)
  [ -n "$loader" ] && [ -n "$plugin" ] || fail "Debian 13's mosquitto is not laid out as $0 knows it; see $tree"
  libraries=$(dirname "$plugin")

  # Programs and libraries keep their places below usr; the loader also stands where programs look for it.
  for file in $programs "$plugin"; do
    printf '%s\n' "$file"
    "./$loader" --library-path "$tree/$libraries" --list "./$file" | sed -n "s#.*=> $tree/\([^ ]*\) .*#\1#p"
  done | sort -u >"$new/files"
  find usr -name 'ld-linux*.so.*' >>"$new/files"
  xargs cp -L --parents -t "$new" <"$new/files"
  cp "$plugin" "$new/usr/lib/"
  cp usr/bin/busybox "$new/usr/bin/"
  rm "$new/files"

  for file in $programs; do make_wrapper "$new/run-$(basename "$file")" "$file" "$loader" "$libraries"; done
  ln -s usr/lib/mosquitto_dynamic_security.so "$new/dynamic-security.so"
  # Printing its help is not a success in the eyes of mosquitto.
  [[ $("$new/run-mosquitto" -h || true) = "mosquitto version 2."* ]] ||
    fail "the broker in $new does not run on this machine"
  echo "$recipe" >"$new/recipe"
  rm -rf "$dest"
  mv "$new" "$dest"
  rm -rf "$tree"
}

once broker-root build
printf '%s\n' "$dest"
