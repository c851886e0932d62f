//! HTTP: routes, bodies, problems, keys. The only room that knows axum.
//!
//! Start with [`router`], the flat list of routes; a noun has a file of its own. Bodies are read by [`extract`], everything
//! that goes wrong becomes a problem document in [`problem`].

mod audit;
mod auth;
pub mod bodies;
mod connections;
mod cursor;
mod docs;
mod elsewhere;
mod events;
mod extract;
mod fields;
mod filter;
mod health;
mod item_body;
mod items;
mod jobs;
mod json;
mod limits;
mod metrics;
mod models;
mod observe;
mod openapi;
mod problem;
mod providers;
mod recommend;
mod recommend_body;
mod refusals;
mod router;
mod schemas;
mod serve;
mod tls;
mod users;

pub use models::training_settings;
pub use openapi::openapi;
pub use problem::{ApiError, FieldError};
pub use router::router;
pub use serve::{serve, stop_signal};
pub use tls::Tls;
