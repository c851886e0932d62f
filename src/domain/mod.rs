//! The words of the field as types: items, users, interactions, queries, recommendations. No I/O, no async.

mod behaviour;
mod filter;
mod folding;
mod ids;
mod interaction;
mod item;
mod language;
mod query;
mod recommendation;
mod tenant;
mod vector_source;

pub use behaviour::Behaviour;
pub use filter::{Filter, Filters, SetFilter};
pub use folding::{fold, is_unspaced};
pub use ids::{Domain, EventId, IdError, ItemId, RecommendationId, UserId};
pub use interaction::{Event, Interaction, InteractionKind, UnknownKind};
pub use item::{AttributeChanges, Item, ItemPatch, tidy_labels};
pub use language::Language;
pub use query::{Query, Rerank, Taste, Wording};
pub use recommendation::{Degradation, ModelRef, RankedItem, Reason, ReasonCode, Recommendation, Story, Unmatched};
pub use tenant::{Tenant, TenantError};
pub use vector_source::VectorSource;
