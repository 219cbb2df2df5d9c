#!/usr/bin/env bash
# Starts the real PostgreSQL and S3 servers that the tests use, on loopback, over empty folders,
# and prints how to reach them as shell assignments:
#
#   eval "$(scripts/services.sh DIR)"; …; scripts/services.sh DIR stop
#
# DIR holds their data and logs. Both listen on ports that were free a moment ago.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

directory=${1:?usage: services.sh DIR [stop]}

# PostgreSQL refuses to run as root.
as_postgres() {
  if [ "$(id -u)" != 0 ]; then
    "$@"
  elif id postgres >/dev/null 2>&1; then
    setpriv --reuid postgres --regid postgres --clear-groups -- "$@"
  else
    setpriv --reuid nobody --regid nogroup --clear-groups -- "$@"
  fi
}

free_port() {
  node -e 'const server = require("node:net").createServer().listen(0, "127.0.0.1", () => {
    console.log(server.address().port); server.close() })'
}

if [ "${2:-start}" = stop ]; then
  if [ -e "$directory/s3.pid" ]; then kill "$(cat "$directory/s3.pid")" 2>/dev/null || true; fi
  if [ -e "$directory/postgres/postmaster.pid" ]; then
    (cd / && as_postgres pg_ctl --pgdata "$directory/postgres" --mode immediate --silent stop) || true
  fi
  rm -rf "$directory"
  exit
fi

mkdir -p "$directory/s3" "$directory/postgres"
chmod 711 "$directory"
user=postgres
[ "$(id -u)" != 0 ] || chown "$(as_postgres id -u):$(as_postgres id -g)" "$directory/postgres"
postgres_port=$(free_port)
(
  cd /
  as_postgres initdb --pgdata "$directory/postgres" --username $user --auth trust --no-sync --no-instructions --encoding UTF8 --locale C
  as_postgres pg_ctl --pgdata "$directory/postgres" --log "$directory/postgres/log" --silent --wait start \
    --options "-h 127.0.0.1 -p $postgres_port -c fsync=off -c max_connections=200 -c unix_socket_directories="
) >"$directory/postgres.log" 2>&1 || { cat "$directory/postgres.log" >&2; die "PostgreSQL did not start"; }

server=$("$root/scripts/get-s3.sh")
s3_port=$(free_port)
key=tandem-test secret=tandem-test-secret
# ETags live in extended attributes; without them the conditions would silently be off.
ROOT_ACCESS_KEY=$key ROOT_SECRET_KEY=$secret setsid "$server" --port "127.0.0.1:$s3_port" \
  --health /health posix "$directory/s3" >"$directory/s3.log" 2>&1 </dev/null &
s3_pid=$!
echo $s3_pid >"$directory/s3.pid"
node - "http://127.0.0.1:$s3_port/health" <<'JS' || { tail -n 20 "$directory/s3.log" >&2; die "the S3 server did not start"; }
const until = Date.now() + 20_000;
const ask = () => fetch(process.argv[2]).then((answer) => answer.ok, () => false).then((ok) => {
  if (!ok) Date.now() < until ? setTimeout(ask, 50) : process.exit(1);
});
ask();
JS

cat <<ENV
export TANDEM_TEST_POSTGRES=postgres://$user@127.0.0.1:$postgres_port/postgres
export TANDEM_TEST_S3_ENDPOINT=http://127.0.0.1:$s3_port
export AWS_ACCESS_KEY_ID=$key AWS_SECRET_ACCESS_KEY=$secret AWS_REGION=us-east-1
ENV
