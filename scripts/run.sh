#!/usr/bin/env bash
# What `make run` does after the set-up: builds and starts the server, with data in .tandem/.
# Arguments go to `tandem serve`.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

"$root/scripts/setup.sh" run
"$root/scripts/build.sh"
say "Starting Tandem; Ctrl+C stops it"
cd "$root"
export TANDEM_DATA_DIR=${TANDEM_DATA_DIR:-$root/.tandem}
exec "${CARGO_TARGET_DIR:-$root/target}/release/tandem" serve "$@"
