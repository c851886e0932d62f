//! The demo: a catalogue of well-known works that ships in the binary, and synthetic listeners.

use crate::domain::{Event, Item};

/// The demo catalogue.
#[must_use]
pub fn items() -> Vec<Item> {
    todo!()
}

/// The behaviour of `listeners` synthetic people named `demo-listener-001` and so on, the same for the same seed.
#[must_use]
pub fn events(_items: &[Item], _listeners: usize, _seed: u64) -> Vec<Event> {
    todo!()
}
