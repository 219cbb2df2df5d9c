#!/usr/bin/env bash
# Sees to it that this machine has what Tandem needs; fast when nothing is missing.
#
#   setup.sh run     to build and start it
#   setup.sh test    also what `make test` needs: a browser, PostgreSQL, an S3 server
#
# Installs Debian packages when it may (root, or sudo without a password); else says what to
# install and exits 1.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

purpose=${1:-run}
case $purpose in run | test) ;; *) die "usage: setup.sh run|test" ;; esac

command -v cargo >/dev/null || die "Rust is missing. Install it from https://rustup.rs, then try again."
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  die "Node.js 20.19 or newer, with npm, is missing. Install it from https://nodejs.org, then try again."
fi
node -e 'const [major, minor] = process.versions.node.split(".").map(Number);
  process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)' ||
  die "Node.js $(node --version) is too old: 20.19 or newer is needed."

need cc build-essential
need bwrap bubblewrap
need mke2fs e2fsprogs
need mount mount
if [ "$purpose" = test ]; then
  need git git
  need python3 python3
  need make make
  need shellcheck shellcheck
  need psql postgresql-client
  need initdb postgresql
  # Any Chromium or Chrome will do for the browser tests.
  if ! { command -v chromium || command -v google-chrome || command -v chromium-browser; } >/dev/null; then
    need chromium chromium
  fi
  # The Docker driver is tried with a daemon that the tests start themselves, which takes root;
  # where it cannot be had, the tests say what they leave out.
  if [ "$(id -u)" = 0 ] && may_install; then
    need dockerd docker.io
    need mmdebstrap mmdebstrap
  fi
fi
install_missing

if [ "$purpose" = test ]; then
  if [ "$(id -u)" = 0 ] && command -v dockerd >/dev/null && command -v mmdebstrap >/dev/null; then
    "$root/scripts/get-image.sh" test >/dev/null
  fi
  "$root/scripts/get-s3.sh" >/dev/null
  node_packages "$root/crates/doc/tests/yjs"
  node_packages "$root/tests/stock"
  node_packages "$root/tests/browser"
fi
