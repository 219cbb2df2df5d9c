//! The session cookie: its name, how it is set, and how ours are kept from programs.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::config::PublicUrl;

/// Seconds a browser keeps the cookie.
pub(crate) const MAX_AGE_S: u64 = 90 * 24 * 3_600;

const SECURE_NAME: &str = "__Host-tandem";
const PLAIN_PREFIX: &str = "tandem_";

/// The cookie's name. Cookies do not know ports, so on plain http the port is in the name and
/// two servers on one machine do not sign each other's people out.
pub(crate) fn name(site: &PublicUrl) -> String {
    if site.is_https() { SECURE_NAME.to_owned() } else { format!("{PLAIN_PREFIX}{}", site.port()) }
}

/// The value of our cookie, if the request has exactly one.
pub(crate) fn find(site: &PublicUrl, headers: &HeaderMap) -> Option<String> {
    let name = name(site);
    let mut found = pairs(headers).filter(|(key, _)| *key == name).map(|(_, value)| value);
    let value = found.next()?;
    found.next().is_none().then(|| value.to_owned())
}

/// `Set-Cookie` for a new session.
pub(crate) fn set(site: &PublicUrl, value: &str) -> String {
    attributes(site, value, MAX_AGE_S)
}

/// `Set-Cookie` that forgets the session.
pub(crate) fn clear(site: &PublicUrl) -> String {
    attributes(site, "", 0)
}

fn attributes(site: &PublicUrl, value: &str, max_age_s: u64) -> String {
    let secure = if site.is_https() { "; Secure" } else { "" };
    format!(
        "{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age_s}{secure}",
        name(site)
    )
}

/// Removes every cookie that may be ours, of this server or another on the same machine, and
/// leaves the program's own.
pub(crate) fn strip_ours(headers: &mut HeaderMap) {
    let kept: Vec<String> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .map(str::trim)
        .filter(|pair| {
            let key = pair.split('=').next().unwrap_or_default().trim();
            !pair.is_empty() && key != SECURE_NAME && !key.starts_with(PLAIN_PREFIX)
        })
        .map(str::to_owned)
        .collect();
    headers.remove(COOKIE);
    if !kept.is_empty()
        && let Ok(value) = HeaderValue::from_str(&kept.join("; "))
    {
        headers.insert(COOKIE, value);
    }
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(url: &str) -> PublicUrl {
        url.parse().unwrap()
    }

    #[test]
    fn names_follow_the_scheme() {
        assert_eq!(name(&site("https://t.example")), "__Host-tandem");
        assert_eq!(name(&site("http://localhost:8080")), "tandem_8080");
        let set = set(&site("https://t.example"), "x");
        for part in ["__Host-tandem=x", "Path=/", "HttpOnly", "SameSite=Strict", "Secure"] {
            assert!(set.contains(part), "{part}");
        }
        assert!(!set.contains("Domain"));
        assert!(!clear(&site("http://localhost:1")).contains("Secure"));
    }

    #[test]
    fn only_one_cookie_of_our_name_counts() {
        let site = site("http://localhost:8080");
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=b; tandem_8080=one"));
        assert_eq!(find(&site, &headers).as_deref(), Some("one"));
        headers.append(COOKIE, HeaderValue::from_static("tandem_8080=two"));
        assert_eq!(find(&site, &headers), None);
    }

    #[test]
    fn programs_never_get_our_cookies() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=b; tandem_8080=s; theme=dark"));
        headers.append(COOKIE, HeaderValue::from_static("__Host-tandem=s;tandem_1=t; c=d=e"));
        strip_ours(&mut headers);
        assert_eq!(headers.get(COOKIE).unwrap(), "a=b; theme=dark; c=d=e");
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("tandem_8080=s"));
        strip_ours(&mut headers);
        assert!(headers.get(COOKIE).is_none());
    }
}
