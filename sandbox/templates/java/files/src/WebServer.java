import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.time.LocalTime;
import java.util.concurrent.Executors;

/** A web server from the JDK. Run the task "web"; the preview opens by itself. */
public class WebServer {
    private static final int PORT = 3000;

    private static final String PAGE = """
            <!doctype html>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width">
            <title>Java</title>
            <style>body { font: 1.1rem system-ui; margin: 3rem auto; max-width: 40rem }</style>
            <h1>%s</h1>
            <p>Served by Java %s.</p>
            """;

    public static void main(String[] args) throws IOException {
        var server = HttpServer.create(new InetSocketAddress(PORT), 0);
        server.createContext("/", WebServer::answer);
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
        System.out.println("Listening on http://localhost:" + PORT);
    }

    private static void answer(HttpExchange exchange) throws IOException {
        var found = exchange.getRequestURI().getPath().equals("/");
        var text = found
                ? PAGE.formatted(new Greeting("world", LocalTime.now()), Runtime.version().feature())
                : "Not found\n";
        var body = text.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "text/html; charset=utf-8");
        exchange.sendResponseHeaders(found ? 200 : 404, body.length);
        try (var out = exchange.getResponseBody()) {
            out.write(body);
        }
    }
}
