//! Tastes: what a caller wrote, matched against what the catalogue knows.

/// The tastes of one request, resolved to terms of the catalogue.
#[derive(Debug, Clone, Default)]
pub struct TasteProfile {}
