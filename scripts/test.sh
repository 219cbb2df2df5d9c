#!/usr/bin/env bash
# What `make test` runs. Each step's output goes to the screen and to tests/output/STEP.log; the
# runners' own summaries are repeated at the end. A failed step does not hide the later ones.
#
#   test.sh          everything
#   test.sh quick    no browser, no stock clients, no whole-product tests
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

cd "$root"
scope=${1:-all}
if ! reachable; then
  # A debug build reads the page and the templates from the repository while it runs, as an ordinary
  # user. In a private folder of root's, the tests see the repository at another place.
  place=/run/tandem-source
  [ "$root" != $place ] || die "The user 199999 cannot get into $root, nor be let in."
  mkdir -p $place
  chmod o+x "$root"
  # shellcheck disable=SC2016
  exec unshare --mount --propagation private -- \
    bash -c 'mount --bind "$1" "$2" && cd "$2" && exec ./scripts/test.sh "$3"' bash "$root" $place "$scope"
fi
output=$root/tests/output
mkdir -p "$output"
rm -f "$output"/*.log "$output"/*.png
say "Set-up"
"$root/scripts/setup.sh" test
node_packages "$root/frontend"

names=()
results=()
failed=0
# step NAME COMMAND…
step() {
  local name=$1 log=$output/$1.log begin=$SECONDS status=0
  shift
  say "$name"
  "$@" 2>&1 | tee "$log" || status=$?
  names+=("$name")
  if [ $status = 0 ]; then
    results+=("ok, $((SECONDS - begin)) s")
  else
    results+=("FAILED ($status), $((SECONDS - begin)) s")
    failed=1
  fi
}
scripts_format() {
  frontend/node_modules/.bin/prettier --check tests/*.mjs tests/stock/*.mjs tests/browser/*.mjs benches/*.mjs
}
in_frontend() { (cd "$root/frontend" && npm run --silent "$@"); }

# Incremental files would only cost time and disk in a build that happens once.
if [ "${CI:-}" = true ]; then export CARGO_INCREMENTAL=0; fi

TANDEM_S3_SERVER=$("$root/scripts/get-s3.sh")
export TANDEM_S3_SERVER

step format cargo fmt --all --check
step script-format scripts_format
step shell shellcheck -x scripts/*.sh benches/*.sh .ci/run
step page-types in_frontend typecheck
step page-lint in_frontend lint
step page-tests in_frontend test
step page-build build_page
step build cargo build --locked --workspace --bins
step clippy cargo clippy --locked --workspace --all-targets -- -D warnings
if [ "$scope" = quick ]; then
  step rust-tests cargo test --locked --workspace --exclude tandem-tests --no-fail-fast
else
  step rust-tests cargo test --locked --workspace --no-fail-fast
  step stock-clients node --test --test-force-exit --test-concurrency=2 tests/stock/*.test.mjs
  step browser node --test --test-force-exit --test-concurrency=1 tests/browser/*.test.mjs
fi

# The lines in which each runner itself says how it went.
summary() {
  sed 's/\x1b\[[0-9;]*m//g' "$1" | grep -E \
    -e '^test result: (FAILED|ok\. [1-9])' -e '^ +Tests? +[0-9]+ (passed|failed)' -e '^ℹ (tests|pass|fail|skipped) ' \
    -e '^# (tests|pass|fail|skipped) ' -e '^(error|warning): ' -e '^left out: ' -e '^test .* \.\.\. FAILED' || true
}
printf '\n'
say "Summary"
for index in "${!names[@]}"; do
  printf '%-14s %s\n' "${names[$index]}" "${results[$index]}"
  summary "$output/${names[$index]}.log" | sort | uniq -c | sed 's/^ *1 /    /; s/^ \{4,\}\([0-9]\)/    \1 ×/' | head -n 40
done
[ $failed = 0 ] || die "Some steps failed; their whole output is in tests/output/."
say "All passed"
