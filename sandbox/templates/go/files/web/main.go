// A web server with the standard library. Run the task `web`; the preview opens by itself.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"time"

	"hello/greeting"
)

const address = ":3000"

const page = `<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Go</title>
<style>body { font: 1.1rem system-ui; margin: 3rem auto; max-width: 40rem; padding: 0 1rem }</style>
<h1 id="greeting">Hello from Go!</h1>
<script type="module">
  const answer = await fetch("/api/greeting");
  document.getElementById("greeting").textContent = (await answer.json()).greeting;
</script>
`

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write([]byte(page))
	})
	mux.HandleFunc("/api/greeting", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]string{"greeting": greeting.For("world", time.Now())})
	})
	log.Printf("Listening on http://localhost%s", address)
	log.Fatal(http.ListenAndServe(address, mux))
}
