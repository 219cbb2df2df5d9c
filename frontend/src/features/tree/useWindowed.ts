import { useCallback, useEffect, useState, type RefObject } from "react";

const EXTRA = 8;

/** Which of many lines of equal height are in view, a few more on both sides. */
export function useWindowed(box: RefObject<HTMLElement | null>, count: number, height: number) {
  const [view, setView] = useState({ top: 0, height: 600 });
  const measure = useCallback(() => {
    const element = box.current;
    if (element !== null) setView({ top: element.scrollTop, height: element.clientHeight });
  }, [box]);
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener("scroll", measure, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", measure);
    };
  }, [box, measure]);
  const first = Math.max(0, Math.floor(view.top / height) - EXTRA);
  const last = Math.min(count, Math.ceil((view.top + view.height) / height) + EXTRA);
  const reveal = useCallback(
    (index: number) => {
      const element = box.current;
      if (element === null) return;
      const top = index * height;
      if (top < element.scrollTop) element.scrollTop = top;
      else if (top + height > element.scrollTop + element.clientHeight) {
        element.scrollTop = top + height - element.clientHeight;
      }
    },
    [box, height],
  );
  return { first, last, reveal };
}
