/** Whether every word of a query occurs in one of the texts, in any order and case. */
export function matches(query: string, ...texts: string[]): boolean {
  const haystack = texts.join("\n").toLocaleLowerCase();
  return query
    .toLocaleLowerCase()
    .split(/\s+/)
    .every((word) => haystack.includes(word));
}
