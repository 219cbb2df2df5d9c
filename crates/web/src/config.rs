//! What the binary decides for web, checked once: the addresses under which the site and the
//! previews are reached, and the secrets.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use ipnet::IpNet;
use prometheus_client::registry::Registry;

/// The process's metrics, shared by the parts that register theirs and the one that prints them.
pub type SharedRegistry = Arc<Mutex<Registry>>;

/// Shortest owner token that is accepted from outside.
pub const MIN_OWNER_TOKEN_LEN: usize = 16;

/// Everything [`crate::Web::start`] needs to know.
pub struct WebConfig {
    /// Where people reach the site, for example `http://localhost:8080`. Requests for any
    /// other host are refused.
    pub public_url: String,
    /// Previews are served at `{port}-{repl}.` and this, for example `localhost`.
    pub preview_domain: String,
    /// Accept a public address that is neither https nor loopback.
    pub insecure_http: bool,
    /// Reverse proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The owner's token.
    pub owner_token: String,
    /// Secret half of the key that signs grants.
    pub grant_secret: [u8; 32],
    /// `sqlite:///file` or `postgres://…`.
    pub database_url: String,
    /// Where web registers its metrics, printed at `/metrics`.
    pub registry: SharedRegistry,
}

impl fmt::Debug for WebConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebConfig")
            .field("public_url", &self.public_url)
            .field("preview_domain", &self.preview_domain)
            .field("insecure_http", &self.insecure_http)
            .field("trusted_proxies", &self.trusted_proxies)
            .finish_non_exhaustive()
    }
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not `http(s)://host[:port]`.
    #[error("the public URL must look like https://tandem.example.org or http://localhost:8080")]
    PublicUrl,
    /// Tokens and cookies would travel in the clear.
    #[error(
        "the public URL {0} is neither https nor loopback: cookies and code would travel \
         unencrypted. Use https, or accept that with --insecure-http"
    )]
    InsecureHttp(String),
    /// Not a DNS name.
    #[error("the preview domain must be a DNS name such as localhost or preview.example.org")]
    PreviewDomain,
    /// Programs' pages could set cookies for the site.
    #[error(
        "the preview domain {preview} is the site's own host {host} or a parent of it: programs \
         in sandboxes could then set cookies for the site. Use another domain for previews"
    )]
    PreviewAboveSite {
        /// The refused domain.
        preview: String,
        /// The site's host.
        host: String,
    },
    /// Too easy to guess.
    #[error("the owner's token must have at least {MIN_OWNER_TOKEN_LEN} characters")]
    WeakToken,
}

/// The site's own address, in the one form that comparisons use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    https: bool,
    host: String,
    port: Option<u16>,
}

impl FromStr for PublicUrl {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let uri: http::Uri = text.trim().parse().map_err(|_| ConfigError::PublicUrl)?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(ConfigError::PublicUrl),
        };
        let authority = uri.authority().ok_or(ConfigError::PublicUrl)?;
        let plain = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
        let (host, port) = split_authority(authority.as_str()).ok_or(ConfigError::PublicUrl)?;
        if !plain {
            return Err(ConfigError::PublicUrl);
        }
        let default = if https { 443 } else { 80 };
        Ok(Self { https, host, port: port.filter(|port| *port != default) })
    }
}

impl PublicUrl {
    /// Whether the site is reached over TLS.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// The host alone.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, whether written or the scheme's own.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.https { 443 } else { 80 })
    }

    /// `host[:port]` as browsers send it.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// `scheme://host[:port]` as browsers send it in `Origin`.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority())
    }

    /// Whether only this machine reaches it.
    pub fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Whether a `Host` header names this site.
    pub fn is_host(&self, host: &str, port: Option<u16>) -> bool {
        self.host == host && self.port() == port.unwrap_or(if self.https { 443 } else { 80 })
    }
}

/// The checked form of a [`WebConfig`]'s addresses.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    pub(crate) site: PublicUrl,
    pub(crate) preview_domain: String,
}

impl WebConfig {
    pub(crate) fn addresses(&self) -> Result<Addresses, ConfigError> {
        let site: PublicUrl = self.public_url.parse()?;
        if !site.is_https() && !site.is_loopback() && !self.insecure_http {
            return Err(ConfigError::InsecureHttp(site.origin()));
        }
        let preview = self.preview_domain.trim().trim_end_matches('.').to_ascii_lowercase();
        if !is_dns_name(&preview) {
            return Err(ConfigError::PreviewDomain);
        }
        // Browsers take `localhost` for a top-level domain: no page below it can set a cookie
        // for it, and pages at two names below it are cross-site.
        let above = site.host() == preview || site.host().ends_with(&format!(".{preview}"));
        if above && site.host() != "localhost" {
            return Err(ConfigError::PreviewAboveSite { preview, host: site.host().to_owned() });
        }
        if self.owner_token.trim().len() < MIN_OWNER_TOKEN_LEN {
            return Err(ConfigError::WeakToken);
        }
        Ok(Addresses { site, preview_domain: preview })
    }
}

/// The last two labels are compared; a guess at the registrable domain, good enough to warn.
pub(crate) fn looks_same_site(site: &PublicUrl, preview_domain: &str) -> bool {
    let last_two = |name: &str| {
        let mut labels: Vec<&str> = name.rsplit('.').take(2).collect();
        labels.reverse();
        labels.join(".")
    };
    !site.is_loopback() && last_two(site.host()) == last_two(preview_domain)
}

/// Host in lower case and port of `host[:port]`; `None` for anything else, such as a user or
/// a port that is no number.
pub(crate) fn split_authority(text: &str) -> Option<(String, Option<u16>)> {
    let authority: http::uri::Authority = text.parse().ok()?;
    if text.contains('@') {
        return None;
    }
    let host = authority.host();
    let port = match text.strip_prefix(host)? {
        "" => None,
        rest => {
            let digits = rest.strip_prefix(':')?;
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            Some(digits.parse().ok().filter(|_| plain)?)
        }
    };
    (!host.is_empty()).then(|| (host.to_ascii_lowercase(), port))
}

fn is_dns_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 190
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(public_url: &str, preview_domain: &str) -> WebConfig {
        WebConfig {
            public_url: public_url.to_owned(),
            preview_domain: preview_domain.to_owned(),
            insecure_http: false,
            trusted_proxies: Vec::new(),
            owner_token: "0123456789abcdef".to_owned(),
            grant_secret: [0; 32],
            database_url: String::new(),
            registry: SharedRegistry::default(),
        }
    }

    #[test]
    fn public_urls_have_one_form() {
        let url: PublicUrl = "HTTP://LocalHost:80/".parse().unwrap();
        assert_eq!(url.origin(), "http://localhost");
        assert!(url.is_host("localhost", None) && url.is_host("localhost", Some(80)));
        assert!(!url.is_host("localhost", Some(8080)) && !url.is_host("evil", None));
        for bad in [
            "",
            "localhost:8080",
            "ftp://x",
            "http://",
            "http://a/b",
            "http://u@h/",
            "http://h:99999",
            "http://h/?q",
        ] {
            assert_eq!(bad.parse::<PublicUrl>(), Err(ConfigError::PublicUrl), "{bad}");
        }
    }

    #[test]
    fn dangerous_addresses_are_refused() {
        assert!(config("http://localhost:8080", "localhost").addresses().is_ok());
        assert!(config("http://127.0.0.1:8080", "localhost").addresses().is_ok());
        assert!(config("https://tandem.example.org", "previews.example").addresses().is_ok());
        assert!(matches!(
            config("http://tandem.example.org", "previews.example").addresses(),
            Err(ConfigError::InsecureHttp(_))
        ));
        for preview in ["example.org", "tandem.example.org"] {
            assert!(matches!(
                config("https://tandem.example.org", preview).addresses(),
                Err(ConfigError::PreviewAboveSite { .. })
            ));
        }
        for preview in ["", "a b", "*.x", "-a.b", "a..b"] {
            assert_eq!(
                config("https://t.example", preview).addresses().err(),
                Some(ConfigError::PreviewDomain),
                "{preview}"
            );
        }
        let mut weak = config("http://localhost:8080", "localhost");
        weak.owner_token = "short".to_owned();
        assert_eq!(weak.addresses().err(), Some(ConfigError::WeakToken));
    }

    #[test]
    fn secrets_are_not_in_debug_output() {
        let text = format!("{:?}", config("http://localhost:8080", "localhost"));
        assert!(!text.contains("0123456789abcdef"));
    }
}
