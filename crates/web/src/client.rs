//! Where a request really comes from: the peer, or what a trusted proxy says of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap};
use ipnet::IpNet;

/// The address of the person's machine, as far as it can be believed.
pub(crate) fn address(trusted: &[IpNet], headers: &HeaderMap, extensions: &Extensions) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let peer = extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip().to_canonical());
    if !is_trusted(peer) {
        return peer;
    }
    // The list is read from its end: each proxy appends whom it saw.
    headers
        .get_all("x-forwarded-for")
        .iter()
        .rev()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.rsplit(','))
        .map_while(|text| text.trim().parse::<IpAddr>().ok())
        .find(|address| !is_trusted(*address))
        .unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str]) -> String {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let trusted = ["198.18.0.0/24".parse().unwrap(), "fd00::/8".parse().unwrap()];
        address(&trusted, &headers, &extensions).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_their_own_word() {
        assert_eq!(seen("203.0.113.5", &["192.0.2.1"]), "203.0.113.5");
        assert_eq!(seen("198.18.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(seen("::ffff:198.18.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(seen("198.18.0.1", &["6.6.6.6, 192.0.2.1, 198.18.0.2"]), "192.0.2.1");
        assert_eq!(seen("198.18.0.1", &["6.6.6.6", "192.0.2.1"]), "192.0.2.1");
        assert_eq!(seen("198.18.0.1", &["6.6.6.6, nonsense"]), "198.18.0.1");
        assert_eq!(seen("198.18.0.1", &[]), "198.18.0.1");
        assert_eq!(seen("fd00::1", &["2001:db8::1"]), "2001:db8::1");
    }
}
