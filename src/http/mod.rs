//! HTTP: routes, bodies, problems, keys. The only room that knows axum.
