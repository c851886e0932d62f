//! The routes, in one flat list, and the layers around them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use jiff::Timestamp;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::auth::{ADMIN, CATALOGUE, EVENTS, Needs, READ, RECOMMEND};
use super::problem::ApiError;
use super::refusals::Refusals;
use super::{
    auth, docs, events, health, items, jobs, limits, metrics, models, observe, openapi, providers, recommend, users,
};
use crate::config::Config;
use crate::serving::keys::Keys;
use crate::serving::{Service, Tenants};

/// What handlers share; one pointer, because every layer and handler has its own.
pub type App = Arc<Shared>;

/// See [`App`].
pub struct Shared {
    pub config: Arc<Config>,
    /// The services. A handler behind a key takes that of its caller, which is [`super::auth::Served`].
    pub tenants: Arc<Tenants>,
    pub keys: Arc<Keys>,
    pub room: limits::Room,
    pub refusals: Refusals,
    /// The OpenAPI document, as text.
    pub openapi: Bytes,
}

/// Every route that is documented, with the scopes of which one is needed.
fn api(guarded: impl Fn(Needs, UtoipaMethodRouter<App>) -> UtoipaMethodRouter<App>) -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(guarded(RECOMMEND, routes!(recommend::recommend)))
        .routes(guarded(READ, routes!(items::list)))
        .routes(guarded(CATALOGUE, routes!(items::batch)))
        .routes(guarded(READ, routes!(items::get)))
        .routes(guarded(CATALOGUE, routes!(items::put, items::patch, items::delete)))
        .routes(guarded(READ, routes!(items::similar)))
        .routes(guarded(EVENTS, routes!(events::append)))
        .routes(guarded(EVENTS, routes!(users::events)))
        .routes(guarded(EVENTS, routes!(users::merge)))
        .routes(guarded(ADMIN, routes!(users::export)))
        .routes(guarded(ADMIN, routes!(users::erase)))
        .routes(guarded(READ, routes!(models::list)))
        .routes(guarded(ADMIN, routes!(models::train)))
        .routes(guarded(ADMIN, routes!(models::activate)))
        .routes(guarded(ADMIN, routes!(jobs::get)))
        .routes(guarded(ADMIN, routes!(providers::providers)))
        .routes(guarded(ADMIN, routes!(providers::evaluations)))
        .routes(guarded(ADMIN, routes!(providers::evaluation)))
}

/// The routes that need no key.
fn open() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::metrics))
        .routes(routes!(docs::openapi))
        .routes(routes!(docs::docs))
        .routes(routes!(docs::index))
}

/// The document of all routes, still without what is added in [`openapi`].
pub fn documented() -> utoipa::openapi::OpenApi {
    let (_, mut api) = api(|_, routes| routes).split_for_parts();
    api.merge(open().split_for_parts().1);
    api
}

/// The whole HTTP interface of a service, the default tenant's, for callers on this machine or, where it `is_public`, on others. Reads the API keys, starts the services of the other tenants that have one, and
/// keeps on doing both.
pub async fn router(service: Arc<Service>, is_public: bool) -> Router {
    let config = &service.config;
    metrics::recorder();
    let keys = Keys::new(config.auth.admin_key()).for_public(is_public);
    let keys = Arc::new(if service.store.kind() == "sqlite" { keys } else { keys.kept_in(config.kept_keys()) });
    if let Err(error) = keys.refresh(service.store.as_ref()).await {
        let kept = keys.start_from_disk().await;
        tracing::warn!(%error, from_disk = kept.is_ok(), "cannot read the API keys from the store so far; trying on");
    }
    let tenants = Arc::new(Tenants::new(Arc::clone(&service)));
    tenants.serve(&keys.tenants(Timestamp::now())).await;
    tokio::spawn(follow(Arc::downgrade(&tenants), Arc::clone(&keys), config.database.refresh_interval()));
    tokio::spawn(models::look_after_jobs(Arc::downgrade(&tenants), config.database.refresh_interval()));
    let app = Arc::new(Shared {
        config: Arc::clone(config),
        room: limits::Room::new(&config.server),
        refusals: Refusals::new(),
        openapi: super::openapi(&config.domains, &config.large_model.names()).to_string().into(),
        keys,
        tenants,
    });
    let guarded = |needs: Needs, routes: UtoipaMethodRouter<App>| {
        routes.map(|routes| routes.route_layer(from_fn_with_state((Arc::clone(&app), needs), admit)))
    };
    let (api, _) = api(guarded).split_for_parts();
    let (open, _) = open().split_for_parts();
    api.merge(open)
        .route("/docs/", get(docs::docs))
        .route("/docs/{*file}", get(docs::docs_file))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .fallback(async || ApiError::NoRoute)
        .layer((from_fn(observe::observe), CatchPanicLayer::custom(limits::panicked)))
        .with_state(app)
}

/// What stands before a route that needs a key: a limit on time, the guard, room for those it lets pass, and the pace of refusals. One layer, as each costs
/// every request.
async fn admit(State((app, needs)): State<(App, Needs)>, request: Request, next: Next) -> Response {
    let admitted = async |request| limits::admit(&app, request, next).await;
    let answer = limits::in_time(&app, auth::guard(&app, needs, request, admitted)).await.into_response();
    if limits::is_refusal(answer.status()) {
        app.refusals.turn().await;
    }
    answer
}

/// Takes over keys and tenants made or revoked elsewhere, as long as the service lives; and keeps the recorder's buffers short.
async fn follow(tenants: Weak<Tenants>, keys: Arc<Keys>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(tenants) = tenants.upgrade() else { return };
        if let Err(error) = keys.refresh(tenants.default_service().store.as_ref()).await {
            tracing::debug!(%error, "cannot read the API keys; those read before stay in force");
        }
        // In a task of its own: a large catalogue takes its time, and a revoked key must not wait for it.
        let wanted = keys.tenants(Timestamp::now());
        tokio::spawn(async move { tenants.serve(&wanted).await });
        if let Some(recorder) = metrics::recorder() {
            recorder.run_upkeep();
        }
    }
}
