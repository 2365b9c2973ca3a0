# shellcheck shell=bash
# The operator's command line. Sourced after lib.sh and health.sh, never run.

LOGIN=${BIGSKIES_OPERATOR_DIR:-$ROOT/.bigskies}/operator.env

# bigskies ARGUMENTS: the command line as the operator has it: built here, or in its container where there is no Rust.
bigskies() {
  if [ -x "$CACHE/bin/bigskies" ]; then
    (
      set -a
      # shellcheck source=/dev/null  # made by init
      . "$LOGIN"
      "$CACHE/bin/bigskies" "$@"
    )
  else
    compose run --rm --no-TTY cli "$@"
  fi
}

check_up() {
  [ -r "$LOGIN" ] || fail "there is no $LOGIN: bring the framework up first, with: make up"
  all_healthy || fail "not every coordinator is healthy; make up tells which, and why"
}
