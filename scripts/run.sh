#!/usr/bin/env bash
# What `make run` does: set-up, build, start, with data in .tandem/ (or $TANDEM_DATA_DIR).
# Arguments go to `tandem serve`.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

"$root/scripts/setup.sh" run
"$root/scripts/build.sh"
say "Starting Tandem; Ctrl+C stops it"
cd "$root"
if [ -z "${TANDEM_DATA_DIR:-}" ]; then
  export TANDEM_DATA_DIR=$root/.tandem
  # Started as root, the server goes on as an ordinary user, who cannot get into a private home.
  if ! reachable; then
    export TANDEM_DATA_DIR=/var/lib/tandem
    say "Data is kept in $TANDEM_DATA_DIR, because $root is private to root"
  fi
fi
exec "${CARGO_TARGET_DIR:-$root/target}/release/tandem" serve "$@"
