import { useState } from "react";
import { isImage } from "@/features/languages/languages";
import type { Tab } from "@/features/tabs/model";
import { HexFile } from "./HexFile";
import { ImageFile } from "./ImageFile";

/** A file that is not edited as text: a picture, or bytes in parts. */
export function BlobFile({ tab }: { tab: Tab }) {
  const [hex, setHex] = useState(!isImage(tab.path));
  return hex ? (
    <HexFile path={tab.path} onImage={isImage(tab.path) ? () => setHex(false) : undefined} />
  ) : (
    <ImageFile path={tab.path} onHex={() => setHex(true)} />
  );
}
