//! Who asks, and what they may do on the repl they ask about.
//!
//! Invariant: a cookie authenticates only requests of the site's own pages; a token that was
//! presented explicitly is used or refused, never silently replaced by a cookie.

use std::net::IpAddr;
use std::time::Instant;

use axum::extract::{FromRequestParts, Path};
use http::header;
use http::request::Parts;
use serde::Deserialize;
use tandem_proto::{ReplId, Role};

use crate::app::{App, Shared};
use crate::metadata::{MemberRow, ReplRow, wall_ms};
use crate::problem::ApiError;
use crate::token::{Token, TokenHash};
use crate::{cookie, origin};

/// An authenticated person or program.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) member: MemberRow,
    /// The installation's owner.
    pub(crate) owner: bool,
}

impl Caller {
    /// Fails unless this is the installation's owner.
    pub(crate) fn require_owner(&self) -> Result<(), ApiError> {
        if self.owner {
            return Ok(());
        }
        Err(ApiError::Forbidden("only this server's owner may make repls"))
    }
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        authenticate(app, parts).await
    }
}

/// Who a request is from.
pub(crate) async fn authenticate(app: &App, parts: &Parts) -> Result<Caller, ApiError> {
    if let Some(text) = bearer(parts)? {
        let address = app.client_address(&parts.headers, &parts.extensions);
        return by_token(app, text, address).await;
    }
    if origin::is_websocket(parts)
        && let Some(text) = query_token(parts.uri.query().unwrap_or_default())
    {
        let address = app.client_address(&parts.headers, &parts.extensions);
        return by_token(app, &text, address).await;
    }
    match by_cookie(app, parts).await? {
        Some((caller, _)) => Ok(caller),
        None => Err(ApiError::Unauthenticated),
    }
}

/// Who a presented token is: the owner, or a share link.
pub(crate) async fn by_token(app: &App, text: &str, address: IpAddr) -> Result<Caller, ApiError> {
    let now = Instant::now();
    if !app.attempts.may_try(address, now) {
        app.metrics.refused_tokens.inc();
        return Err(ApiError::TooManyAttempts);
    }
    if let Some(token) = Token::presented(text) {
        let hash = token.hash();
        if hash == app.owner_token {
            return owner(app).await;
        }
        if let Some(link) = app.metadata.link_by_token(hash).await?
            && let Some(member) = app.metadata.member(link.member).await?
        {
            return Ok(Caller { member, owner: false });
        }
    }
    app.attempts.failed(address, now);
    app.metrics.refused_tokens.inc();
    Err(ApiError::BadToken)
}

/// The installation's owner.
pub(crate) async fn owner(app: &App) -> Result<Caller, ApiError> {
    let member = app.metadata.member(app.owner).await?.ok_or(ApiError::Unauthenticated)?;
    Ok(Caller { member, owner: true })
}

/// Who the cookie is, when there is a valid one; the request must come from our own pages.
pub(crate) async fn by_cookie(
    app: &App,
    parts: &Parts,
) -> Result<Option<(Caller, TokenHash)>, ApiError> {
    let Some(text) = cookie::find(&app.addresses.site, &parts.headers) else { return Ok(None) };
    if !origin::is_own(&app.addresses.site, parts) {
        return Err(ApiError::ForeignOrigin);
    }
    let Some(token) = Token::presented(&text) else { return Ok(None) };
    let hash = token.hash();
    let member = app.metadata.session_member(hash, wall_ms()).await?;
    Ok(member.map(|member| {
        let owner = member.id == app.owner;
        (Caller { member, owner }, hash)
    }))
}

/// The token of an `Authorization: Bearer` header; other schemes are somebody else's.
fn bearer(parts: &Parts) -> Result<Option<&str>, ApiError> {
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::BadRequest("more than one Authorization header".to_owned()));
    }
    let text = value.to_str().map_err(|_| ApiError::BadToken)?;
    let Some((scheme, token)) = text.split_once(' ') else { return Ok(None) };
    Ok(scheme.eq_ignore_ascii_case("bearer").then_some(token))
}

/// The value of `token=` in a query.
fn query_token(query: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == "token")
        .map(|(_, value)| value.into_owned())
}

/// A query without its `token=`.
pub(crate) fn without_token(query: &str) -> String {
    query
        .split('&')
        .filter(|pair| {
            form_urlencoded::parse(pair.as_bytes()).next().is_none_or(|(key, _)| key != "token")
        })
        .collect::<Vec<_>>()
        .join("&")
}

/// The caller's right on the repl of the address, deleted or not. Who has none is told the
/// same as for a repl that does not exist.
#[derive(Debug, Clone)]
pub(crate) struct AnyAccess {
    pub(crate) caller: Caller,
    pub(crate) repl: ReplRow,
    pub(crate) role: Role,
}

/// The caller's right on the repl of the address, which is not deleted.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) caller: Caller,
    pub(crate) repl: ReplRow,
    pub(crate) role: Role,
}

#[derive(Deserialize)]
struct InPath {
    repl: String,
}

const NO_REPL: ApiError = ApiError::NotFound("there is no such repl, or you have no right on it");

/// The right of a caller on a repl.
pub(crate) async fn access(app: &App, caller: Caller, repl: ReplId) -> Result<AnyAccess, ApiError> {
    let repl = app.metadata.repl(repl).await?.ok_or(NO_REPL)?;
    let role = app.role_on(&repl, caller.member.id).await?.ok_or(NO_REPL)?;
    Ok(AnyAccess { caller, repl, role })
}

impl AnyAccess {
    /// The same, unless the repl is deleted.
    pub(crate) fn present(self) -> Result<Access, ApiError> {
        let Self { caller, repl, role } = self;
        if repl.deleted_ms.is_some() {
            return Err(if role == Role::Owner { ApiError::Deleted } else { NO_REPL });
        }
        Ok(Access { caller, repl, role })
    }
}

impl FromRequestParts<Shared> for AnyAccess {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        let caller = authenticate(app, parts).await?;
        let Path(path) =
            Path::<InPath>::from_request_parts(parts, app).await.map_err(|_| NO_REPL)?;
        let repl = path.repl.parse().map_err(|_| NO_REPL)?;
        access(app, caller, repl).await
    }
}

impl FromRequestParts<Shared> for Access {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        AnyAccess::from_request_parts(parts, app).await?.present()
    }
}

impl Access {
    /// Fails unless the caller owns the repl.
    pub(crate) fn require_owner(&self) -> Result<(), ApiError> {
        if self.role == Role::Owner {
            return Ok(());
        }
        Err(ApiError::Forbidden("only the repl's owner may do this"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_in_a_query_and_taken_out() {
        assert_eq!(query_token("from=3&token=a%2Bb").as_deref(), Some("a+b"));
        assert_eq!(query_token("from=3&nottoken=1"), None);
        assert_eq!(without_token("from=3&token=x&a=b%20c"), "from=3&a=b%20c");
        assert_eq!(without_token("tok%65n=x"), "");
        assert_eq!(without_token("token"), "");
        assert_eq!(without_token(""), "");
    }
}
