# shellcheck shell=bash
# Functions for main.sh and test.sh.

# Reads text and prints each word with its number of occurrences, most frequent first.
count_words() {
  local word
  local -A counts=()
  while read -r -d ' ' word || [[ -n $word ]]; do
    [[ -z $word ]] || counts[$word]=$((${counts[$word]:-0} + 1))
  done < <(tr -s '[:space:][:punct:]' ' ' | tr '[:upper:]' '[:lower:]')
  for word in "${!counts[@]}"; do
    printf '%d %s\n' "${counts[$word]}" "$word"
  done | sort -k1,1nr -k2
}
