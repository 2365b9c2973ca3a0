#!/usr/bin/env bash
# debian13.sh [--alone] PACKAGE... -- DEST: unpacks packages of Debian 13 into DEST, with all that they
# depend on, or alone.
#
# For what Debian 12 has too old (mosquitto) or not at all (compose v2). Nothing is installed and the
# system's own lists of packages stay as they are: lists and downloads live in a folder of our own,
# signatures are checked against Debian's keyring, and the mirror is the one this machine uses.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

alone=
if [ "${1:-}" = --alone ]; then
  alone=yes
  shift
fi
packages=()
while [ "${1:-}" != -- ] && [ $# -gt 0 ]; do
  packages+=("$1")
  shift
done
[ $# = 2 ] && [ ${#packages[@]} -gt 0 ] || fail "usage: $0 [--alone] PACKAGE... -- DEST"
dest=$2

is_debian || fail "packages of Debian 13 (${packages[*]}) are wanted and this machine has no apt-get"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r $keyring ] || fail "$keyring is missing; install debian-archive-keyring"

base=$CACHE/debian13
mkdir -p "$base/lists/partial"
# What apt downloads to must be writable by the user it downloads as.
if is_root; then sandbox=root; else sandbox=$(id -un); fi

# mirror_of PATTERN: the address of the first configured mirror with a release of that name.
mirror_of() {
  # shellcheck disable=SC2016  # apt-get fills these in, not the shell
  apt-get indextargets --format '$(SITE) $(RELEASE)' | awk -v pattern="$1" '$2 ~ pattern { print $1; exit }'
}

write_sources() {
  local main security
  main=$(mirror_of '^(bookworm|trixie|forky|stable|testing|sid|unstable)$')
  [ -n "$main" ] || fail "apt-get knows no mirror of Debian on this machine; run apt-get update and try again"
  security=$(mirror_of '-security$')
  echo "deb [signed-by=$keyring] $main trixie main"
  [ -z "$security" ] || echo "deb [signed-by=$keyring] $security trixie-security main"
}

fetch() {
  if [ -n "$alone" ]; then
    (cd "$archives" && apt download "${packages[@]}")
  else
    apt -y --no-install-recommends --download-only install "${packages[@]}"
  fi
}

# An empty state of packages makes apt fetch everything, down to the C library and its loader.
apt() {
  apt-get -qq \
    -o Dir::Etc::sourcelist="$base/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State::lists="$base/lists" -o Dir::State::status="$base/status" \
    -o Dir::State::extended_states="$base/extended_states" \
    -o Dir::Cache="$base" -o Dir::Cache::archives="$archives" -o Debug::NoLocking=true \
    -o APT::Sandbox::User="$sandbox" "$@" >>"$base/log" 2>&1
}

lists_are_fresh() { [ -n "$(find "$base/lists" -maxdepth 1 -name '*Packages*' -mtime -1 2>/dev/null)" ]; }

unpack() {
  local archives unpacked deb
  archives=$(mktemp -d "$base/archives.XXXXXX")
  unpacked=$(mktemp -d "$base/unpacked.XXXXXX")
  # shellcheck disable=SC2064  # the folders of this call
  trap "rm -rf '$archives' '$unpacked'" EXIT
  mkdir -p "$archives/partial"
  : >"$base/status"
  : >"$base/log"
  write_sources >"$base/sources.list"
  lists_are_fresh || apt update || explain "the package lists of Debian 13 could not be read"
  fetch ||
    explain "the packages of Debian 13 could not be fetched: ${packages[*]}"
  for deb in "$archives"/*.deb; do dpkg-deb -x "$deb" "$unpacked"; done
  rm -rf "$dest"
  mkdir -p "$(dirname "$dest")"
  chmod 755 "$unpacked"
  mv "$unpacked" "$dest"
}

explain() {
  tail -20 "$base/log" >&2
  fail "$1"
}

once debian13 unpack
