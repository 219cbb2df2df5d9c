import { Toaster as Sonner, toast } from "sonner";
import "./Toaster.css";

/** Where short messages appear; once on the page. */
export function Toaster({ theme, label }: { theme: "dark" | "light"; label: string }) {
  return (
    <Sonner
      theme={theme}
      position="bottom-right"
      offset={{ bottom: 36, right: 12 }}
      mobileOffset={{ bottom: 64 }}
      gap={8}
      visibleToasts={4}
      expand
      containerAriaLabel={label}
      toastOptions={{ className: "toast" }}
    />
  );
}

interface Offer {
  label: string;
  run: () => void;
}

/** Tells what was done; `undo` takes it back. */
export function say(text: string, undo?: Offer): void {
  toast(
    text,
    undo === undefined
      ? {}
      : {
          duration: 10_000,
          action: { label: undo.label, onClick: undo.run },
        },
  );
}

/** Tells how far something has come. */
export function sayProgress(text: string): { update: (text: string) => void; end: () => void } {
  const id = toast.loading(text, { duration: Infinity });
  return {
    update: (next) => void toast.loading(next, { id, duration: Infinity }),
    end: () => void toast.dismiss(id),
  };
}

/** Tells what went wrong, in one line of summary and one of detail. */
export function complain(title: string, detail?: string, next?: Offer): void {
  toast.error(title, {
    duration: 9_000,
    ...(detail !== undefined && { description: detail }),
    ...(next !== undefined && { action: { label: next.label, onClick: next.run } }),
  });
}
