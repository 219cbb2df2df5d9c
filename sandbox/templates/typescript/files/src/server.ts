// A web server without any packages. Press Run; the preview opens by itself.
import { createServer, type ServerResponse } from "node:http";

import { greeting } from "./greeting.js";

const port = 3000;

const page = `<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>TypeScript</title>
<style>body { font: 1.1rem system-ui; margin: 3rem auto; max-width: 40rem; padding: 0 1rem }</style>
<h1 id="greeting">Hello from TypeScript!</h1>
<script type="module">
  const answer = await fetch("/api/greeting");
  document.getElementById("greeting").textContent = (await answer.json()).greeting;
</script>
`;

function send(response: ServerResponse, type: string, body: string, status = 200): void {
  response.writeHead(status, { "Content-Type": type }).end(body);
}

const server = createServer((request, response) => {
  switch (request.url) {
    case "/":
      return send(response, "text/html; charset=utf-8", page);
    case "/api/greeting": {
      const body = JSON.stringify({ greeting: greeting("world", new Date()) });
      return send(response, "application/json", body);
    }
    default:
      return send(response, "text/plain; charset=utf-8", "Not found\n", 404);
  }
});

server.listen(port, () => console.log(`Listening on http://localhost:${port}`));
