/** Bytes as the lines of a hex view. */
export interface HexLine {
  offset: string;
  hex: string;
  text: string;
}

export const LINE_BYTES = 16;

export function hexLines(bytes: Uint8Array, start: number): HexLine[] {
  const lines: HexLine[] = [];
  for (let at = 0; at < bytes.length; at += LINE_BYTES) {
    const part = [...bytes.subarray(at, at + LINE_BYTES)];
    const pairs = part.map((byte) => byte.toString(16).padStart(2, "0"));
    lines.push({
      offset: (start + at).toString(16).padStart(8, "0"),
      hex: `${pairs.slice(0, 8).join(" ").padEnd(23)}  ${pairs.slice(8).join(" ").padEnd(23)}`,
      text: part
        .map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·"))
        .join(""),
    });
  }
  return lines;
}

/** Whether bytes look like UTF-8 text: no NUL, and nothing that does not decode but for a
 *  character cut off at the end of the part. */
export function looksLikeText(bytes: Uint8Array): boolean {
  if (bytes.includes(0)) return false;
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
}
