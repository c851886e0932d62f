//! Acts of admins are recorded before they are done: what cannot be recorded is not done.

use axum::RequestPartsExt as _;
use axum::extract::{MatchedPath, RawPathParams};
use axum::http::Method;
use axum::http::request::Parts;
use jiff::Timestamp;

use super::observe::RequestId;
use super::problem::ApiError;
use crate::domain::UserId;
use crate::serving::keys::Caller;
use crate::serving::{NewAct, Service, ServiceError, Subject};

/// What a route does, where it is the act of an admin.
fn act(method: &Method, route: &str) -> Option<&'static str> {
    Some(match (method.as_str(), route) {
        ("DELETE", "/api/items/{id}") => "item.delete",
        ("POST", "/api/models/train") => "model.train",
        ("POST", "/api/models/{version}/activate") => "model.activate",
        ("DELETE", "/api/users/{id}") => "user.erase",
        ("GET" | "HEAD", "/api/users/{id}/export") => "user.export",
        ("POST", "/api/users/{id}/merge") => "user.merge",
        _ => return None,
    })
}

/// Who does a recorded act, for a handler that knows of somebody else whom it is done to.
#[derive(Clone)]
pub struct Actor {
    name: String,
    request_id: Option<RequestId>,
}

impl Actor {
    /// Records that the act concerns this person as well.
    pub async fn record(&self, service: &Service, act: &str, user: &UserId) -> Result<(), ApiError> {
        let act = NewAct {
            at: Timestamp::now(),
            actor: &self.name,
            act,
            subject: Subject::Person(user),
            request_id: self.request_id.as_ref().and_then(|RequestId(id)| id.to_str().ok()),
        };
        Ok(service.store.record_act(&act).await.map_err(ServiceError::Store)?)
    }
}

/// Records the request if it is such an act. One whose path names nobody and nothing is refused by its handler, and not recorded.
pub async fn record(parts: &mut Parts, service: &Service, caller: &Caller, now: Timestamp) -> Result<(), ApiError> {
    let route = parts.extensions.get::<MatchedPath>().cloned();
    let Some(act) = route.as_ref().and_then(|route| act(&parts.method, route.as_str())) else { return Ok(()) };
    let Ok(names) = parts.extract::<RawPathParams>().await else { return Ok(()) };
    let name = names.iter().next().map_or("", |(_, name)| name);
    let user;
    let subject = match name {
        "" => Subject::None,
        name if act.starts_with("user.") => {
            let Ok(read) = UserId::new(name) else { return Ok(()) };
            user = read;
            Subject::Person(&user)
        }
        name => Subject::Thing(name),
    };
    let request_id = parts.extensions.get::<RequestId>().cloned();
    let act = NewAct {
        at: now,
        actor: caller.name(),
        act,
        subject,
        request_id: request_id.as_ref().and_then(|RequestId(id)| id.to_str().ok()),
    };
    service.store.record_act(&act).await.map_err(ServiceError::Store)?;
    parts.extensions.insert(Actor { name: caller.name().to_owned(), request_id });
    Ok(())
}
