#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source ./words.sh

got=$(count_words <<<"To be, or not to be!")
want=$'2 be\n2 to\n1 not\n1 or'
if [[ $got != "$want" ]]; then
  printf 'expected:\n%s\ngot:\n%s\n' "$want" "$got" >&2
  exit 1
fi
echo "all tests passed"
