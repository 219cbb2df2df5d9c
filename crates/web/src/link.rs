//! `…/{repl}/links`: share links. A link's token is shown once; only its hash is kept.

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use tandem_proto::api::{CreateLink, LinkCreated, LinkInfo};
use tandem_proto::internal::RevokeMember;
use tandem_proto::{LinkId, MemberId, Role};

use crate::app::{App, Shared};
use crate::caller::Access;
use crate::metadata::{LinkRow, wall_ms};
use crate::problem::{ApiError, Json};
use crate::session::made_up;
use crate::token::{Token, random};
use crate::{catalogue, node_call};

/// Most links of one repl.
const MAX_LINKS: usize = 100;

/// `GET …/links`.
pub(crate) async fn list(
    State(app): State<Shared>,
    access: Access,
) -> Result<Answer<Vec<LinkInfo>>, ApiError> {
    access.require_owner()?;
    let links = app.metadata.links(access.repl.id).await?;
    Ok(Answer(
        links
            .into_iter()
            .map(|link| LinkInfo { id: link.id, role: link.role, created_ms: link.created_ms })
            .collect(),
    ))
}

/// `POST …/links`.
pub(crate) async fn create(
    State(app): State<Shared>,
    access: Access,
    Json(wanted): Json<CreateLink>,
) -> Result<(StatusCode, Answer<LinkCreated>), ApiError> {
    access.require_owner()?;
    if wanted.role == Role::Owner {
        return Err(ApiError::Unprocessable("a link's role is editor or viewer".to_owned()));
    }
    if app.metadata.links(access.repl.id).await?.len() >= MAX_LINKS {
        return Err(ApiError::Conflict {
            code: "too_many_links",
            detail: format!("a repl has at most {MAX_LINKS} links; remove one first"),
        });
    }
    let token = Token::generate()?;
    let id = LinkId::from_random(random()?);
    let link = LinkRow {
        id,
        repl: access.repl.id,
        role: wanted.role,
        member: member_of(id),
        created_ms: wall_ms(),
    };
    let person = made_up(link.member);
    if !app.metadata.add_link(&link, &token.hash().to_text(), &person).await? {
        return Err(ApiError::Deleted);
    }
    catalogue::record(&app, access.repl.id).await;
    let url =
        format!("{}/r/{}#token={}", app.addresses.site.origin(), access.repl.id, token.reveal());
    let body = LinkCreated { id, role: wanted.role, token: token.reveal().to_owned(), url };
    Ok((StatusCode::CREATED, Answer(body)))
}

#[derive(Deserialize)]
pub(crate) struct LinkPath {
    link: String,
}

/// `DELETE …/links/{id}`: the link and every right that came by it end now, also on sockets
/// that are open.
pub(crate) async fn remove(
    State(app): State<Shared>,
    access: Access,
    Path(path): Path<LinkPath>,
) -> Result<StatusCode, ApiError> {
    access.require_owner()?;
    let no_link = || ApiError::NotFound("there is no such link");
    let id: LinkId = path.link.parse().map_err(|_| no_link())?;
    let members = app.metadata.members_by_link(access.repl.id, id).await?;
    if !app.metadata.remove_link(access.repl.id, id).await? {
        return Err(no_link());
    }
    catalogue::record(&app, access.repl.id).await;
    revoke(&app, &access, &members).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Closes the members' sockets. Who still has a right by another way connects again with it.
async fn revoke(app: &App, access: &Access, members: &[MemberId]) -> Result<(), ApiError> {
    for member in members {
        let role = app.role_on(&access.repl, *member).await?;
        node_call::revoke(app, access, &RevokeMember { member: *member, role }).await?;
    }
    Ok(())
}

/// Who a link is when its token is used directly: the same for ever, so that it can be told
/// from the link alone.
pub(crate) fn member_of(link: LinkId) -> MemberId {
    let hash = blake3::derive_key("tandem 2026 member of a share link", link.as_str().as_bytes());
    let mut random = [0; 10];
    random.copy_from_slice(&hash[..10]);
    MemberId::from_random(random)
}
