# shellcheck shell=bash
# Sourced by the other scripts: messages, the cache folder, and installing packages.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Downloaded and built helpers (S3 server, Node packages of the tests). Ignored by git.
# shellcheck disable=SC2034
cache=${TANDEM_CACHE:-$root/.cache}
# Debian keeps some programs where an ordinary user's PATH does not look.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
for directory in /usr/lib/postgresql/*/bin "$HOME/.cargo/bin" /usr/local/go/bin; do
  [ ! -d "$directory" ] || PATH=$PATH:$directory
done
export PATH

# Whether the ordinary user that a server started as root becomes can get at the repository.
reachable() {
  [ "$(id -u)" != 0 ] || setpriv --reuid 199999 --regid 199999 --clear-groups -- test -x "$root"
}

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
die() {
  printf '%s\n' "$@" >&2
  exit 1
}

# Runs a command as root, or fails when that takes a password.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n -- "$@"; fi
}

may_install() {
  command -v apt-get >/dev/null || return 1
  [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }
}

# need COMMAND PACKAGE…: remembers the packages when the command is missing.
missing_commands=()
missing_packages=()
need() {
  local command=$1
  shift
  command -v "$command" >/dev/null && return
  missing_commands+=("$command")
  missing_packages+=("$@")
}

# Installs what `need` found missing, or says what to install and ends.
install_missing() {
  [ ${#missing_commands[@]} -gt 0 ] || return 0
  if ! may_install; then
    die "Missing: ${missing_commands[*]}" \
      "This account may not install packages. Ask for, or run as root:" \
      "  apt-get install ${missing_packages[*]}" \
      "(names of Debian and Ubuntu; other systems have the same programs)"
  fi
  say "Installing ${missing_packages[*]}"
  apt_get update
  apt_get install --no-install-recommends "${missing_packages[@]}"
  local command
  for command in "${missing_commands[@]}"; do
    for directory in /usr/lib/postgresql/*/bin; do PATH=$PATH:$directory; done
    command -v "$command" >/dev/null || die "$command is still missing after installing ${missing_packages[*]}"
  done
  missing_commands=()
  missing_packages=()
}

apt_get() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -y -qq "$@" </dev/null >/dev/null
}

# node_packages DIR: `npm ci` there, only when its lock file changed since the last time.
node_packages() {
  local directory=$1 want have
  want=$(sha256sum "$directory/package-lock.json" | cut -d ' ' -f 1)
  have=$(cat "$directory/node_modules/.installed-lock" 2>/dev/null || true)
  [ "$want" != "$have" ] || return 0
  say "Installing Node packages in ${directory#"$root"/}"
  (cd "$directory" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-fund --no-audit --loglevel=error)
  printf '%s\n' "$want" >"$directory/node_modules/.installed-lock"
}

# The page goes to frontend/dist, from which the server takes it.
build_page() {
  local built=$root/frontend/dist/index.html
  node_packages "$root/frontend"
  if [ -e "$built" ] && [ -z "$(find "$root/frontend" \( -name node_modules -o -name dist \) -prune -o -type f -newer "$built" -print -quit)" ]; then
    return 0
  fi
  say "Building the page"
  (cd "$root/frontend" && npm run --silent build)
}
