import { useRef, useState } from "react";
import { t } from "@/strings/en";
import { useBoxWidth } from "@/ui/useBoxWidth";
import { afterLoad, FRESH_HISTORY, pathOf, previewAddress, type FrameHistory } from "./address";
import { PreviewBar } from "./PreviewBar";
import { DEVICE_WIDTHS, type Device } from "./devices";
import styles from "./Preview.module.css";

/** The program's page in a frame of its own origin, with a bar above. */
export function PreviewFrame({ port, url }: { port: number; url: string }) {
  const frame = useRef<HTMLIFrameElement>(null);
  const [history, setHistory] = useState(FRESH_HISTORY);
  const [device, setDevice] = useState<Device>("full");
  const [stage, paneWidth] = useBoxWidth();
  const path = pathOf(history);
  const address = previewAddress(url, path ?? "/");
  const width = DEVICE_WIDTHS[device];
  const scale = width === null || paneWidth === 0 ? 1 : Math.min(1, paneWidth / width);

  const load = (next: string, expected: FrameHistory["expected"]) => {
    setHistory((now) => ({ ...now, expected }));
    if (frame.current !== null) frame.current.src = previewAddress(url, next);
  };
  // The frame's entries are at the end of this window's history, so stepping there moves it.
  const step = (by: -1 | 1) => {
    setHistory((now) => ({ ...now, expected: { move: "by", step: by } }));
    window.history.go(by);
  };
  return (
    <div className={styles.preview}>
      <PreviewBar
        port={port}
        path={path ?? t.preview.unknownPath}
        address={address}
        device={device}
        canGoBack={history.at > 0}
        canGoForward={history.at < history.entries.length - 1}
        onBack={() => step(-1)}
        onForward={() => step(1)}
        onReload={() =>
          load(path ?? "/", path === null ? { move: "to", path: "/" } : { move: "none" })
        }
        onPath={(next) => load(next, next === path ? { move: "none" } : { move: "to", path: next })}
        onDevice={setDevice}
      />
      <div ref={stage} className={styles.stage} data-device={width === null ? undefined : device}>
        <iframe
          ref={frame}
          className={styles.frame}
          title={t.preview.frame}
          src={url}
          style={
            width === null
              ? undefined
              : { width, height: `${100 / scale}%`, transform: `scale(${scale})` }
          }
          sandbox="allow-scripts allow-same-origin allow-forms allow-modals allow-popups allow-downloads allow-pointer-lock"
          allow="clipboard-read; clipboard-write; fullscreen; gamepad"
          onLoad={() => setHistory(afterLoad)}
        />
      </div>
    </div>
  );
}
