//! The HTTP interface: every route of the contract, bad input, keys, limits, and an orderly end.

mod app;
mod bad_input;
mod events;
mod fake_provider;
mod injection;
mod items;
mod keys;
mod large_model;
mod limits;
mod meanings;
mod recommend;
mod routes;
mod start;
mod tenants;
mod users;
mod words;
