//! API keys: making one, and what a presented one may do. Secrets are kept as hashes only and never logged.

use std::collections::HashMap;
use std::str::FromStr;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::store::{KeyRecord, Store, StoreError};

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Ask for recommendations, read items and the list of models.
    Recommend,
    /// Send and read behaviour, join an anonymous visitor to an account.
    Events,
    /// Read and write items.
    Catalogue,
    /// Everything: people's data, training, models, and all of the above.
    Admin,
}

impl Scope {
    pub const ALL: [Self; 4] = [Self::Recommend, Self::Events, Self::Catalogue, Self::Admin];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recommend => "recommend",
            Self::Events => "events",
            Self::Catalogue => "catalogue",
            Self::Admin => "admin",
        }
    }
}

/// The text names no scope.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a scope; recommend, events, catalogue and admin are")]
pub struct UnknownScope(String);

impl FromStr for Scope {
    type Err = UnknownScope;
    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

/// A key that has just been made: the record for the store, and the one time that its secret is seen.
pub struct NewKey {
    pub record: KeyRecord,
    /// `mk_<id>_<secret>`, to be shown once.
    pub token: SecretString,
}

impl NewKey {
    /// Makes a key with 256 random bits.
    #[must_use]
    pub fn generate(name: String, scopes: &[Scope], now: Timestamp, expires_at: Option<Timestamp>) -> Self {
        let id = hex(&rand::random::<[u8; 6]>());
        let secret = hex(&rand::random::<[u8; 32]>());
        let record = KeyRecord {
            secret_hash: hash(&secret).to_vec(),
            name,
            scopes: scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            created_at: now,
            expires_at,
            revoked_at: None,
            id: id.clone(),
        };
        Self { record, token: SecretString::from(format!("mk_{id}_{secret}")) }
    }
}

/// What a presented key comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Granted,
    /// The key is good, and not for this.
    OutOfScope,
    /// No key was presented where one is needed.
    Missing,
    /// No such key, or revoked, or past its end.
    Refused,
    /// The keys could not be read from the store so far.
    Unknown,
}

/// The keys in force, kept in memory.
pub struct Keys {
    admin: Option<[u8; 32]>,
    by_id: ArcSwapOption<HashMap<String, KeyRecord>>,
}

impl Keys {
    /// `admin` is the key of the configuration, which may do everything.
    #[must_use]
    pub fn new(admin: Option<&SecretString>) -> Self {
        Self { admin: admin.map(|key| hash(key.expose_secret())), by_id: ArcSwapOption::empty() }
    }

    /// Reads the keys from the store.
    ///
    /// # Errors
    /// [`StoreError`]; the keys read before stay in force.
    pub async fn refresh(&self, store: &dyn Store) -> Result<(), StoreError> {
        let keys = store.keys().await?.into_iter().map(|key| (key.id.clone(), key)).collect();
        self.by_id.store(Some(std::sync::Arc::new(keys)));
        Ok(())
    }

    /// Whether `token` grants one of `scopes`. While no key was ever made and none is configured, everything is open: then
    /// the service listens on loopback only. A key that was revoked still closes the house.
    #[must_use]
    pub fn check(&self, token: Option<&str>, scopes: &[Scope], now: Timestamp) -> Access {
        if let (Some(admin), Some(token)) = (&self.admin, token)
            && bool::from(admin.ct_eq(&hash(token)))
        {
            return Access::Granted;
        }
        let by_id = self.by_id.load();
        let Some(by_id) = by_id.as_ref() else { return Access::Unknown };
        if by_id.is_empty() && self.admin.is_none() {
            return Access::Granted;
        }
        let Some(token) = token else { return Access::Missing };
        let Some((id, secret)) = token.strip_prefix("mk_").and_then(|rest| rest.split_once('_')) else {
            return Access::Refused;
        };
        let Some(key) = by_id.get(id) else { return Access::Refused };
        let is_it = bool::from(key.secret_hash.as_slice().ct_eq(&hash(secret)));
        if !is_it || key.revoked_at.is_some() || key.expires_at.is_some_and(|end| end <= now) {
            return Access::Refused;
        }
        let may = |scope: &Scope| key.scopes.iter().any(|held| held == scope.as_str() || held == Scope::Admin.as_str());
        if scopes.iter().any(may) { Access::Granted } else { Access::OutOfScope }
    }
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(records: Vec<KeyRecord>, admin: Option<&str>) -> Keys {
        let admin = admin.map(SecretString::from);
        let keys = Keys::new(admin.as_ref());
        keys.by_id.store(Some(std::sync::Arc::new(records.into_iter().map(|key| (key.id.clone(), key)).collect())));
        keys
    }

    #[test]
    fn a_key_grants_its_scopes_until_its_end() {
        let now = Timestamp::UNIX_EPOCH;
        let later = Timestamp::from_second(60).unwrap();
        let made = NewKey::generate("shop".to_owned(), &[Scope::Recommend], now, Some(later));
        let token = made.token.expose_secret();
        assert!(!format!("{:?}", made.record).contains(token.rsplit('_').next().unwrap()), "the record has no secret");
        let keys = keys(vec![made.record.clone()], None);
        assert_eq!(keys.check(Some(token), &[Scope::Recommend, Scope::Catalogue], now), Access::Granted);
        assert_eq!(keys.check(Some(token), &[Scope::Admin], now), Access::OutOfScope);
        assert_eq!(keys.check(Some(token), &[Scope::Recommend], later), Access::Refused);
        assert_eq!(keys.check(None, &[Scope::Recommend], now), Access::Missing);
        for wrong in ["", "mk_", "mk_x_y", &token[..token.len() - 1], &format!("{token}0")] {
            assert_eq!(keys.check(Some(wrong), &[Scope::Recommend], now), Access::Refused, "{wrong}");
        }
    }

    #[test]
    fn admin_may_everything_and_the_house_stays_closed() {
        let now = Timestamp::UNIX_EPOCH;
        let mut made = NewKey::generate("root".to_owned(), &[Scope::Admin], now, None);
        let token = made.token.expose_secret().to_owned();
        let open = keys(Vec::new(), None);
        assert_eq!(open.check(None, &[Scope::Admin], now), Access::Granted);
        let held = keys(vec![made.record.clone()], None);
        assert_eq!(held.check(Some(&token), &[Scope::Events], now), Access::Granted);
        made.record.revoked_at = Some(now);
        let revoked = keys(vec![made.record], None);
        assert_eq!(revoked.check(Some(&token), &[Scope::Events], now), Access::Refused);
        assert_eq!(revoked.check(None, &[Scope::Events], now), Access::Missing);
        let configured = keys(Vec::new(), Some("a secret of at least 32 characters"));
        assert_eq!(configured.check(Some("a secret of at least 32 characters"), &[Scope::Admin], now), Access::Granted);
        assert_eq!(configured.check(None, &[Scope::Recommend], now), Access::Missing);
        assert_eq!(Keys::new(None).check(None, &[Scope::Recommend], now), Access::Unknown);
    }
}
