/**
 * How well a query fits a path: every character of the query occurs in order, and it counts more
 * at the start of a part or word, in a row, and in the file's own name. 0 means it does not fit.
 */
export function fuzzyScore(path: string, query: string): number {
  const wanted = [...query.toLocaleLowerCase()].filter((character) => !/\s/.test(character));
  if (wanted.length === 0) return 1;
  const text = path.toLocaleLowerCase();
  const nameAt = path.lastIndexOf("/") + 1;
  // Matching from the name on is preferred; when it does not fit there, the whole path counts.
  const inName = walk(path, text, wanted, nameAt);
  if (inName > 0) return inName + 2 + (text.length - nameAt === wanted.length ? 1 : 0);
  return walk(path, text, wanted, 0);
}

function walk(path: string, text: string, wanted: readonly string[], from: number): number {
  let at = from;
  let score = 0;
  let previous = -2;
  for (const character of wanted) {
    const found = text.indexOf(character, at);
    if (found < 0) return 0;
    const before = path[found - 1] ?? "/";
    if (found === previous + 1) score += 3;
    else if (/[/._\- ]/.test(before)) score += 2;
    else if (/[a-z]/.test(before) && /[A-Z]/.test(path[found] ?? "")) score += 2;
    else score += 0.5;
    previous = found;
    at = found + 1;
  }
  // Shorter paths and fewer gaps first.
  return score / (wanted.length * 3) + 1 / (path.length + 10);
}
