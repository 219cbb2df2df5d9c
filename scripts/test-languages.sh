#!/usr/bin/env bash
# Runs every template in a sandbox and fails when a language's toolchain is missing;
# `make toolchains` installs them.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

cd "$root"
"$root/scripts/setup.sh" test
cargo build --locked --workspace --bins
TANDEM_TEST_LANGUAGES=all cargo test --locked -p tandem-tests --test product -- --nocapture templates::
