#!/usr/bin/env bash
# Makes a root file system for the Docker driver from Debian's packages alone, without any
# registry, and prints the path of its tar.
#
#   get-image.sh             all languages of the templates: what sandboxes of --sandbox=docker see
#   get-image.sh test        the little that the tests need
#
# The tar goes to .cache/docker and is made again when what should be in it changed.
# `make image` also imports it into the Docker daemon.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

kind=${1:-languages}
suite=${TANDEM_IMAGE_SUITE:-}
if [ -z "$suite" ]; then
  # shellcheck source=/dev/null
  suite=$(. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_CODENAME" || echo bookworm)
fi
# Debian 12's own Rust is of 2022; the one that it builds browsers with is new.
rust="rustc cargo"
[ "$suite" != bookworm ] || rust="rustc-web cargo-web"
basics="bash ca-certificates coreutils curl diffutils file findutils git gzip less nano procps tar unzip util-linux xz-utils"
case $kind in
  languages) packages="$basics python3 python3-venv python3-pip nodejs npm golang-go $rust build-essential gdb default-jdk-headless" ;;
  test) packages="ca-certificates procps python3 util-linux" ;;
  *) die "usage: get-image.sh [languages|test]" ;;
esac
tar=$cache/docker/$kind.tar
wanted="$suite $packages 1"
if [ -s "$tar" ] && [ "$(cat "$tar.made-of" 2>/dev/null)" = "$wanted" ]; then
  echo "$tar"
  exit
fi
[ "$(id -u)" = 0 ] || die "Making a root file system takes root: sudo $0 $*"
need mmdebstrap mmdebstrap
install_missing >&2
mkdir -p "$cache/docker"
say "Making the image of the sandboxes from Debian's packages ($suite, $kind)" >&2
customize=()
# shellcheck disable=SC2016 # $1 belongs to the shell that mmdebstrap starts
if [ "$kind" = languages ]; then
  # Go 1.20 and newer come without the compiled standard library, which every first run in a new
  # repl would compile anew.
  customize+=(--customize-hook='chroot "$1" env HOME=/root GOCACHE=/tmp/go-cache GODEBUG=installgoroot=all go install std && rm -rf "$1/tmp/go-cache"')
  if command -v npm >/dev/null; then
    staging=$(mktemp -d)
    npm install --prefix "$staging" --silent --no-fund --no-audit typescript@7 @types/node@20 >&2
    customize+=(
      --customize-hook="mkdir -p \"\$1/usr/local/lib/tandem\" && cp -r '$staging' \"\$1/usr/local/lib/tandem/typescript\" && chmod -R a+rX \"\$1/usr/local/lib/tandem\""
      --customize-hook='ln -s ../lib/tandem/typescript/node_modules/.bin/tsc "$1/usr/local/bin/tsc"'
    )
  else
    say "npm is not installed here: the image gets no TypeScript compiler" >&2
  fi
fi
# The suffix tells mmdebstrap what to make.
# Java registers its manual pages in a folder that is left out otherwise.
# shellcheck disable=SC2016
mmdebstrap --quiet --variant=minbase --include="${packages// /,}" \
  --essential-hook='mkdir -p "$1/usr/share/man/man1"' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' "${customize[@]}" "$suite" "$tar.part.tar" >&2
[ -z "${staging:-}" ] || rm -rf "$staging"
mv "$tar.part.tar" "$tar"
printf '%s' "$wanted" >"$tar.made-of"
echo "$tar"
