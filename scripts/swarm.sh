#!/usr/bin/env bash
# The swarm for long: swarm.sh [SECONDS [SEED]]
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

cd "$root"
if ! reachable; then
  # See test.sh.
  place=/run/tandem-source
  [ "$root" != $place ] || die "The user 199999 cannot get into $root, nor be let in."
  mkdir -p $place
  chmod o+x "$root"
  # shellcheck disable=SC2016
  exec unshare --mount --propagation private -- \
    bash -c 'mount --bind "$1" "$2" && cd "$2" && exec ./scripts/swarm.sh "$3" "$4"' bash "$root" $place "${1:-}" "${2:-}"
fi
TANDEM_S3_SERVER=$("$root/scripts/get-s3.sh")
export TANDEM_S3_SERVER
export TANDEM_SWARM_SECONDS=${1:-3600} TANDEM_SWARM_SEED=${2:-}
cargo build --locked --workspace --bins
cargo test --locked -p tandem-tests --test swarm -- --nocapture
