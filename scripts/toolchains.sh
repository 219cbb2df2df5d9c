#!/usr/bin/env bash
# Installs the languages of all templates on this server, where every sandbox can read them.
# Takes names to install only some: toolchains.sh go java
#
# A sandbox sees /usr, not the home folders: a compiler under ~/.cargo or ~/.nvm is not enough.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

languages=("$@")
[ ${#languages[@]} -gt 0 ] || languages=(python node typescript go rust c cpp java bash)
shared=/usr/local/lib/tandem

may_install || die "Installing languages takes root (or sudo without a password) and apt-get." \
  "By hand: apt-get install python3 build-essential default-jdk-headless cargo, Node.js, Go, and" \
  "npm install --prefix $shared/typescript typescript@7 @types/node, all readable under /usr."

# in_usr COMMAND: whether sandboxes have it.
in_usr() {
  local path
  for path in /usr/local/bin /usr/bin /bin; do [ ! -x "$path/$1" ] || return 0; done
  return 1
}

updated=
package() {
  [ -n "$updated" ] || apt_get update
  updated=1
  say "Installing $*"
  apt_get install --no-install-recommends "$@"
}

go_toolchain() {
  command -v go >/dev/null || package golang-go
  # Since 1.20 Go comes without its compiled standard library, so that the first run of every new
  # repl would compile it anew, for five to fifteen seconds. Keep it once, for all.
  local goroot
  goroot=$(go env GOROOT)
  if [ -z "$(find "$goroot/pkg/" -path '*linux_*' -name fmt.a -print -quit)" ]; then
    say "Compiling Go's standard library for all sandboxes"
    as_root env HOME=/root GOFLAGS= GODEBUG=installgoroot=all GOCACHE="$(mktemp -d)" "$goroot/bin/go" install std
  fi
}

typescript_toolchain() {
  in_usr node || package nodejs
  if [ -x $shared/typescript/node_modules/.bin/tsc ]; then return; fi
  say "Installing TypeScript"
  local staging
  staging=$(mktemp -d)
  npm install --prefix "$staging" --silent --no-fund --no-audit typescript@7 @types/node@20
  as_root mkdir -p $shared
  as_root cp -r "$staging" $shared/typescript
  as_root chmod -R a+rX $shared/typescript
  as_root ln -sf ../lib/tandem/typescript/node_modules/.bin/tsc /usr/local/bin/tsc
  rm -rf "$staging"
}

for language in "${languages[@]}"; do
  case $language in
    python | static) in_usr python3 || package python3 ;;
    node) in_usr node || package nodejs ;;
    typescript) typescript_toolchain ;;
    go) go_toolchain ;;
    rust) in_usr cargo || package cargo rustc libc6-dev gcc ;;
    c | cpp) if ! in_usr c++ || ! in_usr make; then package build-essential; fi ;;
    java) in_usr javac || package default-jdk-headless ;;
    bash) in_usr bash || package bash ;;
    *) die "no such language: $language (python node typescript go rust c cpp java bash)" ;;
  esac
done
say "Done: ${languages[*]}"
