import { complain } from "./Toaster";

/**
 * Puts text on the clipboard. Browsers offer the modern way only on secure addresses; a server
 * reached by plain http has to use the old one. Answers whether it worked.
 */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyTheOldWay(text);
  }
}

/** As {@link copyText}, and says so when it did not work. */
export async function copyOrSay(text: string, failed: string): Promise<void> {
  if (!(await copyText(text))) complain(failed);
}

function copyTheOldWay(text: string): boolean {
  const field = document.createElement("textarea");
  const before = document.activeElement;
  field.value = text;
  field.style.position = "fixed";
  field.style.opacity = "0";
  document.body.append(field);
  field.select();
  const worked = document.execCommand("copy");
  field.remove();
  if (before instanceof HTMLElement) before.focus();
  return worked;
}
