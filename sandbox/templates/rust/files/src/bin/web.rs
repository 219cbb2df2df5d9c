//! A web server without any crates. Run the task `web`; the preview opens by itself.
//! For more than a first page, add a framework to `Cargo.toml`.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use hello::{current_hour, greeting};

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", 3000))?;
    println!("Listening on http://localhost:3000");
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || {
            if let Err(error) = answer(stream) {
                eprintln!("request failed: {error}");
            }
        });
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let request_line = lines.next().transpose()?.unwrap_or_default();
    // The headers end with an empty line.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}

    let (status, body) = match request_line.split(' ').nth(1) {
        Some("/") => ("200 OK", page()),
        _ => ("404 Not Found", "Not found".to_owned()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn page() -> String {
    format!(
        "<!doctype html><meta charset=utf-8><meta name=viewport content=width=device-width>\
         <title>Rust</title><body style='font: 1.1rem system-ui; margin: 3rem auto; max-width: 40rem'>\
         <h1>{}</h1><p>Served by Rust.</p>",
        greeting("world", current_hour())
    )
}
