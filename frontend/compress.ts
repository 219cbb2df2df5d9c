/** Writes `.br` and `.gz` beside what the build made; the server sends the form a browser takes. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import type { Plugin } from "vite";

const TEXT = /\.(html|js|css|svg|json|wasm)$/;
/** Below this the headers cost more than is saved. */
const MIN_BYTES = 1024;

export function compress(): Plugin {
  let folder = "dist";
  return {
    name: "compress",
    apply: "build",
    configResolved(config) {
      folder = join(config.root, config.build.outDir);
    },
    async closeBundle() {
      const names = await readdir(folder, { recursive: true });
      for (const name of names.filter((one) => TEXT.test(one))) {
        const content = await readFile(join(folder, name));
        if (content.length < MIN_BYTES) continue;
        const params = { [constants.BROTLI_PARAM_QUALITY]: 10 };
        const [small, smaller] = await Promise.all([
          promisify(gzip)(content, { level: 9 }),
          promisify(brotliCompress)(content, { params }),
        ]);
        await writeFile(join(folder, `${name}.gz`), small);
        await writeFile(join(folder, `${name}.br`), smaller);
      }
    },
  };
}
