//! Security headers of the site's own pages and of the API.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::app::Shared;
use crate::config::Addresses;

/// Policy of answers that are data and never a page.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

const PERMISSIONS: &str = "accelerometer=(), autoplay=(), camera=(), display-capture=(), \
     geolocation=(), gyroscope=(), hid=(), magnetometer=(), microphone=(), midi=(), payment=(), \
     publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=()";

/// The page loads only its own assets, talks only to its own server, and frames only previews.
/// Inline styles are allowed because the editor and the terminal make style elements.
pub(crate) fn page_policy(addresses: &Addresses) -> String {
    let site = &addresses.site;
    let socket = if site.is_https() { "wss" } else { "ws" };
    let (scheme, authority, preview) =
        (site.scheme(), site.authority(), addresses.preview_domain.as_str());
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
         img-src 'self' blob: data:; media-src 'self' blob:; font-src 'self' data:; \
         connect-src 'self' {socket}://{authority}; worker-src 'self' blob:; \
         manifest-src 'self'; frame-src {scheme}://*.{preview}:*; frame-ancestors 'none'; \
         base-uri 'none'; form-action 'self'; object-src 'none'"
    )
}

/// Adds the headers every answer of the site's host has. What a node decided stands.
pub(crate) async fn secure(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let is_data = crate::api::is_data_path(request.uri().path());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    add(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(headers, header::REFERRER_POLICY, "no-referrer");
    add(headers, HeaderName::from_static("permissions-policy"), PERMISSIONS);
    add(headers, HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    add(headers, HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    add(headers, header::X_FRAME_OPTIONS, "DENY");
    if is_data {
        add(headers, header::CONTENT_SECURITY_POLICY, DATA_POLICY);
        add(headers, header::CACHE_CONTROL, "no-store");
    } else {
        add(headers, header::CONTENT_SECURITY_POLICY, &page_policy(&app.addresses));
    }
    response
}

fn add(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if !headers.contains_key(&name)
        && let Ok(value) = HeaderValue::from_str(value)
    {
        headers.insert(name, value);
    }
}
