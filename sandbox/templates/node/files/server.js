// A web server without any packages. Press Run; the preview opens by itself.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

import { greeting } from "./greeting.js";

const port = 3000;
const listeners = new Set();

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, "http://localhost");
  if (pathname === "/") {
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    response.end(await readFile(new URL("index.html", import.meta.url)));
  } else if (pathname === "/api/greeting") {
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify({ greeting: greeting("world", new Date().getHours()) }));
  } else if (pathname === "/events") {
    // Server-sent events: the clock ticks in every open page.
    response.setHeader("Content-Type", "text/event-stream");
    response.write(": hello\n\n");
    listeners.add(response);
    request.on("close", () => listeners.delete(response));
  } else {
    response.statusCode = 404;
    response.end("Not found\n");
  }
});

setInterval(() => {
  const time = new Date().toLocaleTimeString("en-GB");
  for (const listener of listeners) listener.write(`data: ${time}\n\n`);
}, 1000);

server.listen(port, () => console.log(`Listening on http://localhost:${port}`));
