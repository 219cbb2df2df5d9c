//! The node's own resolvers, as `/etc/resolv.conf` names them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::message::{Answer, Outcome, Question};

const FILE: &str = "/etc/resolv.conf";
/// As in the C library.
const MAX_SERVERS: usize = 3;
/// For one server to answer; then the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);
const MAX_ANSWER_BYTES: usize = 4096;

/// See the module.
#[derive(Debug, Clone)]
pub(in crate::egress) struct Upstream {
    servers: Vec<SocketAddr>,
}

impl Upstream {
    /// The node's, or those of another file. With none, no name is found.
    pub(in crate::egress) fn load(file: Option<&Path>) -> Self {
        let file = file.unwrap_or(Path::new(FILE));
        Self::of(&std::fs::read_to_string(file).unwrap_or_default())
    }

    /// Those that a text like `resolv.conf` names.
    pub(in crate::egress) fn of(text: &str) -> Self {
        let server = |line: &str| -> Option<SocketAddr> {
            let mut words = line.split_whitespace();
            let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
            let address: IpAddr = address.parse().ok()?;
            Some(SocketAddr::from((address, 53)))
        };
        Self { servers: text.lines().filter_map(server).take(MAX_SERVERS).collect() }
    }

    /// Asks one after the other.
    pub(super) async fn ask(&self, question: &Question) -> Answer {
        for server in &self.servers {
            match timeout(PATIENCE, ask_over_udp(*server, question)).await {
                Ok(Ok(Answer::Truncated)) => {}
                Ok(Ok(answer)) => return answer,
                _ => continue,
            }
            if let Ok(Ok(answer)) = timeout(PATIENCE, ask_over_tcp(*server, question)).await {
                return answer;
            }
        }
        Answer::Failed(Outcome::ServerFailed)
    }
}

/// From a port of its own, so that an answer cannot be guessed easily.
async fn ask_over_udp(server: SocketAddr, question: &Question) -> io::Result<Answer> {
    let own: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(own).await?;
    socket.connect(server).await?;
    let id = rand::random();
    socket.send(&question.write(id)).await?;
    let mut bytes = [0; MAX_ANSWER_BYTES];
    loop {
        let length = socket.recv(&mut bytes).await?;
        if let Some(answer) = question.read_answer(id, &bytes[..length]) {
            return Ok(answer);
        }
    }
}

async fn ask_over_tcp(server: SocketAddr, question: &Question) -> io::Result<Answer> {
    let id = rand::random();
    let asked = question.write(id);
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(asked.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), &asked[..]].concat()).await?;
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut bytes).await?;
    match question.read_answer(id, &bytes) {
        Some(Answer::Truncated) | None => Err(io::ErrorKind::InvalidData.into()),
        Some(answer) => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_found() {
        let text = "# x\nsearch local\nnameserver 127.0.0.53\nnameserver ::1\noptions edns0\n\
                    nameserver nonsense\nnameserver\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n";
        let servers = Upstream::of(text).servers;
        let want = ["127.0.0.53:53", "[::1]:53", "192.0.2.1:53"].map(|text| text.parse().unwrap());
        assert_eq!(servers, want);
    }
}
