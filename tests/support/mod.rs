//! What the test crates share. Use it with `#[path = "../support/mod.rs"] mod support;`.
#![allow(dead_code, reason = "each test crate uses its part of the harness")]

pub mod postgres;
