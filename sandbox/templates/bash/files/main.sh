#!/usr/bin/env bash
# Press Run. Everybody who is here sees the output.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source ./words.sh

echo "Hello from Bash $BASH_VERSION!"
while read -r count word; do
  printf '%6s ' "$word"
  printf '*%.0s' $(seq "$count")
  echo
done < <(count_words <<<"one fish two fish red fish blue fish")
