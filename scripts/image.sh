#!/usr/bin/env bash
# Makes the image that sandboxes of --sandbox=docker see as their system, from Debian's packages
# alone, and gives it to the Docker daemon. With a registry at hand, sandbox/Dockerfile.languages
# does the same: docker build -t tandem-languages -f sandbox/Dockerfile.languages sandbox
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

name=${1:-tandem-languages}
command -v docker >/dev/null || die "docker is not installed (Debian: apt-get install docker.io)"
docker version >/dev/null 2>&1 || die "The Docker daemon does not answer; start it (systemctl start docker)."
tar=$("$root/scripts/get-image.sh")
say "Giving $name to the Docker daemon"
docker import "$tar" "$name" >/dev/null
say "Done. Start the server with --sandbox=docker; tandem doctor --sandbox=docker says what it offers."
