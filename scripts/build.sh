#!/usr/bin/env bash
# Builds what `make run` starts: the page, the agent (one static program that runs in any
# sandbox), and the release server. The agent is put beside the server, where it looks for it.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

cd "$root"
target=${CARGO_TARGET_DIR:-$root/target}
triple=$(uname -m)-unknown-linux-gnu
build_page
say "Building the agent"
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" cargo build --release --locked -p tandem-agent --target "$triple"
say "Building the server (minutes the first time, seconds later)"
cargo build --release --locked -p tandem
# Replaced by rename, so that a running sandbox keeps the program it started with.
install -m 755 "$target/$triple/release/tandem-agent" "$target/release/tandem-agent.new"
mv "$target/release/tandem-agent.new" "$target/release/tandem-agent"
