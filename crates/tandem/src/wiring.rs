//! Web and node in one process call each other's routers in place. Each needs the other to
//! start, so the node gets a service whose router is filled in when web is there.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse as _;
use http::{Request, Response, StatusCode};
use tower::util::Oneshot;
use tower::{Service, ServiceExt as _};

/// A router that comes later.
#[derive(Clone, Default)]
pub struct LateRouter {
    router: Arc<OnceLock<Router>>,
}

impl LateRouter {
    /// Fills the router in; only the first counts.
    pub fn set(&self, router: Router) {
        let _ = self.router.set(router);
    }
}

impl Service<Request<Body>> for LateRouter {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        match self.router.get() {
            Some(router) => Answer::Router(Box::pin(router.clone().oneshot(request))),
            None => Answer::NotYet,
        }
    }
}

/// The answer of a [`LateRouter`].
pub enum Answer {
    /// From the router.
    Router(std::pin::Pin<Box<Oneshot<Router, Request<Body>>>>),
    /// There is none yet.
    NotYet,
}

impl Future for Answer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Router(answer) => answer.as_mut().poll(context),
            Self::NotYet => Poll::Ready(Ok(StatusCode::SERVICE_UNAVAILABLE.into_response())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_once_the_router_is_there() {
        let late = LateRouter::default();
        let request = || Request::get("/x").body(Body::empty()).unwrap();
        let answer = late.clone().oneshot(request()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        late.set(Router::new().route("/x", axum::routing::get(|| async { "ok" })));
        assert_eq!(late.oneshot(request()).await.unwrap().status(), StatusCode::OK);
    }
}
