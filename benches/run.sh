#!/usr/bin/env bash
# Measures the bars of the README on this machine with the release build and prints a Markdown table.
# `make bench` builds first.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/../scripts/lib.sh"

cd "$root"
export TANDEM_BIN=${TANDEM_BIN:-${CARGO_TARGET_DIR:-$root/target}/release/tandem}
[ -x "$TANDEM_BIN" ] || die "$TANDEM_BIN is not built: run \`make build\` first"
exec node benches/bars.mjs
