#!/usr/bin/env bash
# build.sh SDK-DOCUMENT FOLDER IMAGE-TAG
#
# Takes the Go plugin out of the SDK document exactly as it stands there, compiles it, and builds
# an image of it the way the document's Dockerfile does, on an empty base instead of alpine.
#
# Leaves in FOLDER: main.go (the sample, verbatim), image/plugin (the static binary), and in the
# container engine: IMAGE-TAG, without labels, because the document's Dockerfile has none. The
# plugin's id is "my-plugin-guid"; its manifest has to come with the install request.
#
# Needs: go, docker, an engine, and either a reachable Go module proxy or Debian's packages
# golang-github-eclipse-paho.mqtt.golang-dev golang-github-gorilla-websocket-dev
# golang-golang-x-net-dev golang-golang-x-sync-dev.
set -euo pipefail

fail() { echo "go-sample: $*" >&2; exit 1; }
[ $# -eq 3 ] || fail "usage: build.sh SDK-DOCUMENT FOLDER IMAGE-TAG"
document=$1 folder=$2 tag=$3
[ -r "$document" ] || fail "cannot read the SDK document $document"
for tool in go docker awk sed; do
  command -v "$tool" >/dev/null || fail "$tool is not installed (Debian: apt-get install golang-go docker.io)"
done

mkdir -p "$folder/image"
folder=$(cd "$folder" && pwd)
# Go keeps its build cache below HOME, which a service's environment may lack.
[ -n "${HOME:-}" ] || export GOCACHE="$folder/gocache"
export CGO_ENABLED=0

# block LANGUAGE: the first code block of that language in the document.
block() { awk -v start="\`\`\`$1" '$0 == start {f = 1; next} /^```$/ {if (f) exit} f' "$document"; }

block go >"$folder/main.go"
grep -q '^package main$' "$folder/main.go" || fail "$document has no Go program in a \`\`\`go block"

# The real library, where the Go module proxy answers. The sample names no version; this is the
# last one that Go 1.19 (Debian 12's) builds. Everything is told in module.log.
from_module() (
  rm -rf "$folder/module"
  mkdir "$folder/module"
  cp "$folder/main.go" "$folder/module/"
  cd "$folder/module"
  {
    go mod init sample &&
      timeout 30 go get github.com/eclipse/paho.mqtt.golang@v1.4.3 &&
      timeout 120 go build -trimpath -o "$folder/image/plugin" .
  } >"$folder/module.log" 2>&1
)

# Debian's library. Version 1.1.1 ignores user and password in the broker's URL, which upstream
# honours from 1.2 (2018) on; a copy of it is taught the same. The sample is not touched.
from_debian() {
  local debian=/usr/share/gocode library=src/github.com/eclipse/paho.mqtt.golang
  local overlay="$folder/gopath"
  [ -d "$debian/$library" ] || fail "the Go module proxy does not answer (see $folder/module.log) and Debian's library is missing: apt-get install golang-github-eclipse-paho.mqtt.golang-dev golang-github-gorilla-websocket-dev golang-golang-x-net-dev golang-golang-x-sync-dev"
  rm -rf "$overlay"
  mkdir -p "$overlay/$(dirname "$library")"
  cp -rL "$debian/$library" "$overlay/$library"
  if ! grep -rq --include='*.go' '\.User\.Username()' "$overlay/$library"; then
    sed -i '/o\.Servers = append(o\.Servers, brokerURI)/a\
\t\tif brokerURI.User != nil {\
\t\t\to.Username = brokerURI.User.Username()\
\t\t\tif password, ok := brokerURI.User.Password(); ok {\
\t\t\t\to.Password = password\
\t\t\t}\
\t\t}' "$overlay/$library/options.go"
    grep -q 'brokerURI\.User\.Username()' "$overlay/$library/options.go" ||
      fail "Debian's library has changed: $library/options.go no longer adds brokers the way this script expects"
  fi
  (cd "$folder" && GO111MODULE=off GOPATH="$overlay:$debian" go build -trimpath -o image/plugin main.go)
}

if from_module; then
  library="paho.mqtt.golang v1.4.3 from the Go module proxy"
else
  from_debian
  library="Debian's paho.mqtt.golang"
fi

# The last stage of the document's Dockerfile, without what only alpine can do.
block dockerfile | awk '/^FROM/ {stage = ""} {stage = stage $0 "\n"} END {printf "%s", stage}' |
  sed -e 's/^FROM .*/FROM scratch/' -e '/^RUN apk /d' -e 's/^COPY --from=builder .*/COPY plugin ./' \
    >"$folder/image/Dockerfile"
for line in 'FROM scratch' 'COPY plugin .' 'USER 1000:1000' 'HEALTHCHECK ' 'ENTRYPOINT '; do
  grep -q "^$line" "$folder/image/Dockerfile" || fail "the Dockerfile in $document has changed: no line \"$line\" came out of it"
done
docker build --quiet --tag "$tag" "$folder/image" >/dev/null || fail "the image was not built; does the container engine answer (docker version)?"
labels=$(docker image inspect --format '{{len .Config.Labels}}' "$tag")
[ "$labels" = 0 ] || fail "the image $tag has $labels labels; it must have none"

echo "go-sample: $tag is built with $library"
