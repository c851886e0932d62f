//! What the test crates share. Use it with `#[path = "../support/mod.rs"] mod support;`.

pub mod postgres;
