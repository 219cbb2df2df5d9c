import { useEffect } from "react";
import { t } from "@/strings/en";

/** The window's title: what is shown, then the product. */
export function useDocumentTitle(title: string | null): void {
  useEffect(() => {
    document.title = title === null ? t.product : `${title} · ${t.product}`;
  }, [title]);
}
