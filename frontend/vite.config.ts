import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";
import { compress } from "./compress";

// `npm run dev` talks to a server started beside it. The server refuses foreign Host and
// Origin headers (DNS rebinding), so the proxy speaks in the server's own name.
const server = new URL(process.env.TANDEM_URL ?? "http://127.0.0.1:8080");
const publicHost = process.env.TANDEM_PUBLIC_HOST ?? `localhost:${server.port || "80"}`;

export default defineConfig({
  plugins: [react(), compress()],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  build: {
    target: "es2022",
    sourcemap: false,
    chunkSizeWarningLimit: 900,
  },
  server: {
    port: 5173,
    proxy: {
      "/api": {
        target: server.origin,
        ws: true,
        configure(proxy) {
          const rename = (request: { setHeader(name: string, value: string): void }) => {
            request.setHeader("host", publicHost);
            request.setHeader("origin", `http://${publicHost}`);
          };
          proxy.on("proxyReq", rename);
          proxy.on("proxyReqWs", rename);
        },
      },
    },
  },
  test: {
    environment: "node",
    testTimeout: 30_000,
    include: ["src/**/*.test.{ts,tsx}"],
    setupFiles: [],
    css: { include: [/theme\.css/] },
  },
});
