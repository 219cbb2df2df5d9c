"""A web server without any packages. Run the task `web`; the preview opens by itself."""

import json
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 3000

PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Python</title>
<style>body { font: 1.1rem system-ui; margin: 3rem auto; max-width: 40rem; padding: 0 1rem }</style>
<h1>Hello from Python!</h1>
<p>It is <output id="time">…</output> on the server.</p>
<script>
  setInterval(async () => {
    const answer = await fetch("/api/time");
    document.getElementById("time").textContent = (await answer.json()).time;
  }, 1000);
</script>
"""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/":
            self.answer(200, "text/html; charset=utf-8", PAGE)
        elif self.path == "/api/time":
            self.answer(200, "application/json", json.dumps({"time": f"{datetime.now():%H:%M:%S}"}))
        else:
            self.answer(404, "text/plain; charset=utf-8", "Not found\n")

    def answer(self, status: int, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    print(f"Listening on http://localhost:{PORT}", flush=True)
    try:
        ThreadingHTTPServer(("", PORT), Handler).serve_forever()
    except KeyboardInterrupt:
        pass
