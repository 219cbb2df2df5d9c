//! Which of our names a request is for: the site, a preview, or none (which is refused, so
//! that a foreign name pointed at this address gets nothing; DNS rebinding).

use http::header;
use http::request::Parts;
use tandem_proto::ReplId;

use crate::config::{Addresses, split_authority};

/// What a `Host` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    /// The site and its API.
    Site,
    /// One port of one repl.
    Preview {
        /// In the sandbox.
        port: u16,
        /// Whose.
        repl: ReplId,
    },
    /// This machine by a bare address. Only health and metrics answer there: probes cannot
    /// know our name, and a rebinding page always sends a name.
    BareAddress,
    /// Something else.
    Foreign,
}

/// Looks at a request's host. Absent, double or contradictory hosts are foreign.
pub(crate) fn named(addresses: &Addresses, parts: &Parts) -> Named {
    let Some((host, port)) = host_of(parts) else { return Named::Foreign };
    if addresses.site.is_host(&host, port) {
        return Named::Site;
    }
    if let Some((app_port, repl)) = preview_label(&host, &addresses.preview_domain) {
        return Named::Preview { port: app_port, repl };
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::IpAddr>().is_ok() { Named::BareAddress } else { Named::Foreign }
}

/// The one host and port a request names, in lower case.
fn host_of(parts: &Parts) -> Option<(String, Option<u16>)> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let written = hosts.next();
    if hosts.next().is_some() {
        return None;
    }
    let written = match written {
        Some(value) => Some(value.to_str().ok()?.to_ascii_lowercase()),
        None => None,
    };
    let target = parts.uri.authority().map(|authority| authority.as_str().to_ascii_lowercase());
    let text = match (written, target) {
        (Some(written), Some(target)) if written != target => return None,
        (Some(written), _) => written,
        (None, Some(target)) => target,
        (None, None) => return None,
    };
    let (host, port) = split_authority(&text)?;
    Some((host.trim_end_matches('.').to_owned(), port))
}

/// Parses `{port}-{repl}.{domain}`; the port must be written as numbers are.
fn preview_label(host: &str, domain: &str) -> Option<(u16, ReplId)> {
    let label = host.strip_suffix(domain)?.strip_suffix('.')?;
    let (port, repl) = label.split_once('-')?;
    let repl: ReplId = repl.parse().ok()?;
    let number: u16 = port.parse().ok()?;
    (number > 0 && number.to_string() == port).then_some((number, repl))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    const REPL: &str = "abcdefghijklmnop";

    fn addresses() -> Addresses {
        Addresses {
            site: "http://localhost:8080".parse().unwrap(),
            preview_domain: "localhost".to_owned(),
        }
    }

    fn of(host: &str) -> Named {
        let (parts, ()) =
            Request::builder().uri("/").header("host", host).body(()).unwrap().into_parts();
        named(&addresses(), &parts)
    }

    #[test]
    fn the_site_and_previews_are_told_apart() {
        assert_eq!(of("localhost:8080"), Named::Site);
        assert_eq!(of("LOCALHOST:8080"), Named::Site);
        let repl = REPL.parse().unwrap();
        assert_eq!(of(&format!("3000-{REPL}.localhost:8080")), Named::Preview { port: 3000, repl });
        assert_eq!(of(&format!("22-{REPL}.localhost")), Named::Preview { port: 22, repl });
        assert_eq!(of("127.0.0.1:8080"), Named::BareAddress);
        assert_eq!(of("[::1]:8080"), Named::BareAddress);
    }

    #[test]
    fn anything_else_is_foreign() {
        for bad in [
            "evil.example",
            "localhost",
            "localhost:80",
            "localhost:8080.evil.example",
            "localhost:",
            "localhost:99999",
            "localhost:+8080",
            "localhost:8080:8080",
            ".",
            "a@localhost:8080",
            "",
            "3000-.localhost:8080",
            &format!("03000-{REPL}.localhost"),
            &format!("+3000-{REPL}.localhost"),
            &format!("0-{REPL}.localhost"),
            &format!("70000-{REPL}.localhost"),
            &format!("3000-{REPL}x.localhost"),
            &format!("x.3000-{REPL}.localhost"),
            &format!("3000-{REPL}.localhost.evil.example"),
            &format!("3000-{REPL}localhost"),
        ] {
            assert_eq!(of(bad), Named::Foreign, "{bad}");
        }
    }

    #[test]
    fn two_hosts_are_none() {
        let request = Request::builder()
            .uri("/")
            .header("host", "localhost:8080")
            .header("host", "localhost:8080")
            .body(())
            .unwrap();
        assert_eq!(named(&addresses(), &request.into_parts().0), Named::Foreign);
        let request = Request::builder()
            .uri("http://evil.example/")
            .header("host", "localhost:8080")
            .body(())
            .unwrap();
        assert_eq!(named(&addresses(), &request.into_parts().0), Named::Foreign);
    }
}
