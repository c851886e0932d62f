//! Medley: a recommendation service for music, movies and games that a team runs itself.
//!
//! The rooms, and who may call whom (a test in `tests/architecture.rs` reads this map and holds the code to it):
//!
//! ```text
//! domain       ->
//! engine       -> domain
//! evaluation   -> domain engine
//! store        -> domain
//! demo         -> domain engine
//! breaker      ->
//! large_model  -> domain engine breaker
//! config       -> domain engine large_model
//! telemetry    -> config
//! training     -> domain engine evaluation store large_model
//! serving      -> domain engine store config large_model breaker
//! http         -> domain serving training config large_model
//! cli          -> domain engine evaluation store demo config telemetry training serving http large_model
//! ```
//!
//! A recommendation passes five rooms: `http/router` finds the route, `http/recommend` reads the body into a
//! [`domain::Query`], `serving/recommend` loads the history and picks the live model, `store` runs one indexed
//! query, and `engine/pipeline` ranks. Start reading there.

pub mod breaker;
pub mod cli;
pub mod config;
pub mod demo;
pub mod domain;
pub mod engine;
pub mod evaluation;
pub mod http;
pub mod large_model;
pub mod serving;
pub mod store;
pub mod telemetry;
pub mod training;
