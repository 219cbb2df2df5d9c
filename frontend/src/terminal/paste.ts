/** What may be pasted into a shell. */

/**
 * Line ends become "\n" and control characters go, ESC above all: a copied text must not end
 * bracketed paste by itself and go on as if it were typed.
 */
export function sanitizePaste(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/\r\n?/g, "\n").replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, "");
}
