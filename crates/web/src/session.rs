//! `POST/DELETE /api/v1/session` and `GET/PATCH /api/v1/me`: a token becomes a cookie, and a
//! guest becomes somebody.
//!
//! A session is a set of memberships: a link adds one to whom the browser already is, and
//! never takes a right away.

use axum::Json as Answer;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use tandem_proto::MemberId;
use tandem_proto::api::{CreateSession, Me, SessionCreated, UpdateMe};

use crate::app::{App, Shared};
use crate::caller::{self, Caller};
use crate::metadata::{LinkRow, MemberRow, SessionLifetime, wall_ms};
use crate::problem::{ApiError, Json};
use crate::token::{Token, random};
use crate::{cookie, guest, origin};

/// Guests of one link.
const MAX_GUESTS: usize = 2_000;

/// `POST /api/v1/session`.
pub(crate) async fn create(
    State(app): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    if !origin::is_not_foreign(&app.addresses.site, &parts.headers) {
        return Err(ApiError::ForeignOrigin);
    }
    // A browser's old cookie is used if it can be: an invalid one is as good as none.
    let present = caller::by_cookie(&app, &parts).await.ok().flatten();
    let address = app.client_address(&parts.headers, &parts.extensions);
    let request = Request::from_parts(parts, body);
    let Json(CreateSession { token }) =
        <Json<CreateSession> as axum::extract::FromRequest<()>>::from_request(request, &()).await?;
    let presented = caller::by_token(&app, &token, address).await?;
    let link = match Token::presented(&token) {
        Some(token) if !presented.owner => app.metadata.link_by_token(token.hash()).await?,
        _ => None,
    };
    let present_caller = present.map(|(caller, _)| caller);
    let (caller, keeps_cookie) = match (presented.owner, present_caller) {
        (true, Some(present)) if present.owner => (present, true),
        (true, _) => (presented, false),
        (false, Some(present)) => (present, true),
        (false, None) => {
            if let Some(link) = &link {
                refuse_full(&app, link).await?;
            }
            (new_guest(&app).await?, false)
        }
    };
    if let Some(link) = &link {
        join(&app, &caller, link).await?;
    }
    let body = SessionCreated { me: me_of(&caller), repl: link.map(|link| link.repl) };
    let mut response = (StatusCode::CREATED, Answer(body)).into_response();
    if !keeps_cookie {
        let value = open(&app, caller.member.id).await?;
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    app.metrics.sessions.inc();
    Ok(response)
}

/// `DELETE /api/v1/session`.
pub(crate) async fn remove(
    State(app): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    if let Some((_, hash)) = caller::by_cookie(&app, &parts).await? {
        app.metadata.remove_session(hash).await?;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let value = HeaderValue::from_str(&cookie::clear(&app.addresses.site))
        .map_err(|_| ApiError::BadRequest("the cookie could not be made".to_owned()))?;
    response.headers_mut().append(header::SET_COOKIE, value);
    Ok(response)
}

/// `GET /api/v1/me`.
pub(crate) async fn me(caller: Caller) -> Answer<Me> {
    Answer(me_of(&caller))
}

/// `PATCH /api/v1/me`.
pub(crate) async fn update_me(
    State(app): State<Shared>,
    caller: Caller,
    Json(wanted): Json<UpdateMe>,
) -> Result<Answer<Me>, ApiError> {
    let mut member = caller.member.clone();
    if let Some(name) = wanted.name {
        member.name = guest::clean_name(&name, guest::MAX_NAME_CHARS).ok_or_else(|| {
            ApiError::Unprocessable(
                "a name has 1 to 40 characters and no control characters".to_owned(),
            )
        })?;
        member.named = true;
    }
    if let Some(colour) = wanted.colour {
        if !guest::is_colour(&colour) {
            return Err(ApiError::Unprocessable("a colour is written #rrggbb".to_owned()));
        }
        member.colour = colour.to_ascii_lowercase();
    }
    if member != caller.member {
        app.metadata.update_member(&member).await?;
    }
    Ok(Answer(me_of(&Caller { member, owner: caller.owner })))
}

fn me_of(caller: &Caller) -> Me {
    Me {
        member: caller.member.id,
        name: caller.member.name.clone(),
        colour: caller.member.colour.clone(),
        owner: caller.owner,
        unnamed: !caller.member.named,
    }
}

/// Adds the link's right to those a member has, also when a higher one hides it now: that may
/// be taken away later.
async fn join(app: &App, caller: &Caller, link: &LinkRow) -> Result<(), ApiError> {
    let repl = app.metadata.repl(link.repl).await?.ok_or(ApiError::BadToken)?;
    if app.is_owner(&repl, caller.member.id) {
        return Ok(());
    }
    if app.metadata.join_by_link(caller.member.id, link.id).await? {
        return Ok(());
    }
    Err(ApiError::BadToken)
}

/// Every browser without a cookie makes a new guest; who holds a link must not fill the
/// database with them.
async fn refuse_full(app: &App, link: &LinkRow) -> Result<(), ApiError> {
    if app.metadata.members_by_link(link.repl, link.id).await?.len() < MAX_GUESTS {
        return Ok(());
    }
    Err(ApiError::Conflict {
        code: "link_full",
        detail: format!("{MAX_GUESTS} guests came by this link; ask for a new one"),
    })
}

async fn new_guest(app: &App) -> Result<Caller, ApiError> {
    let member = made_up(MemberId::from_random(random()?));
    app.metadata.add_member(&member, wall_ms()).await?;
    Ok(Caller { member, owner: false })
}

/// A member who has not chosen name and colour.
pub(crate) fn made_up(id: MemberId) -> MemberRow {
    MemberRow { id, name: guest::name(id), colour: guest::colour(id).to_owned(), named: false }
}

/// Opens a session and makes its cookie.
async fn open(app: &App, member: MemberId) -> Result<HeaderValue, ApiError> {
    let token = Token::generate()?;
    let created_ms = wall_ms();
    let expires_ms = created_ms + cookie::MAX_AGE_S * 1_000;
    app.metadata
        .add_session(token.hash(), member, SessionLifetime { created_ms, expires_ms })
        .await?;
    HeaderValue::from_str(&cookie::set(&app.addresses.site, token.reveal()))
        .map_err(|_| ApiError::BadRequest("the cookie could not be made".to_owned()))
}
