//! API keys: making one, and what a presented one may do. Secrets are kept as hashes only and never logged.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::asking::in_time;
use super::key_limits::Limits;
pub use super::key_limits::{Admission, Standing};
use super::snapshot;
use crate::domain::Tenant;
use crate::store::{DayUse, KeyRecord, PreviousSecret, Store, StoreError};

/// How long the store may take to hand over the keys, or to count a key's requests.
const PATIENCE: Duration = Duration::from_secs(5);

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
    /// Makes a key of the default tenant with 256 random bits and without limits.
    #[must_use]
    pub fn generate(name: String, scopes: &[Scope], now: Timestamp, expires_at: Option<Timestamp>) -> Self {
        let id = hex(&rand::random::<[u8; 6]>());
        let (secret_hash, token) = new_secret(&id);
        let record = KeyRecord {
            tenant: Tenant::default(),
            secret_hash,
            previous: None,
            name,
            scopes: scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            rate: None,
            quota: None,
            used: DayUse::default(),
            created_at: now,
            expires_at,
            revoked_at: None,
            id,
        };
        Self { record, token }
    }
}

/// Another secret for the key of this id: its hash for the store, and the one time that it is seen, as `mk_<id>_<secret>`.
#[must_use]
pub fn new_secret(id: &str) -> (Vec<u8>, SecretString) {
    let secret = hex(&rand::random::<[u8; 32]>());
    (hash(&secret).to_vec(), SecretString::from(format!("mk_{id}_{secret}")))
}

/// Who makes a request.
#[derive(Clone)]
pub enum Caller {
    /// Anybody, as there is no key.
    Anyone,
    /// Whoever has the key of the configuration.
    Configured,
    Key(Arc<Key>),
}

/// A key of the store.
pub struct Key {
    pub record: KeyRecord,
    limits: Arc<Limits>,
}

impl Caller {
    /// Whose catalogue, people and models are asked for.
    #[must_use]
    pub fn tenant(&self) -> Tenant {
        match self {
            Self::Anyone | Self::Configured => Tenant::default(),
            Self::Key(key) => key.record.tenant.clone(),
        }
    }

    /// For the audit log.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Anyone => "anyone",
            Self::Configured => "configuration",
            Self::Key(key) => &key.record.id,
        }
    }

    /// Counts a request of this caller against their limits.
    #[must_use]
    pub fn admit(&self, now: Timestamp) -> Admission {
        match self {
            Self::Anyone | Self::Configured => Admission::default(),
            Self::Key(key) => key.limits.admit(now),
        }
    }
}

/// Why a request may not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The key is good, and not for this.
    OutOfScope,
    /// No key was presented where one is needed.
    Missing,
    /// No such key, or revoked, or past its end.
    NotInForce,
    /// The keys could not be read from the store so far.
    Unknown,
}

/// The keys in force, kept in memory.
pub struct Keys {
    admin: Option<[u8; 32]>,
    /// Whether others than this machine can ask: then nobody may without a key, even where there is none.
    is_public: bool,
    by_id: ArcSwapOption<HashMap<String, Arc<Key>>>,
    file: Option<KeyFile>,
}

/// Where the keys are kept for a start without the store, and those that are there.
struct KeyFile {
    path: PathBuf,
    kept: Mutex<Option<Vec<KeyRecord>>>,
}

/// The keys that were kept in this file. Hashes of random secrets: whoever reads them cannot present one.
///
/// # Errors
/// There is no such file, or it cannot be read.
pub fn kept_keys(path: &Path) -> io::Result<Vec<KeyRecord>> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

impl Keys {
    /// `admin` is the key of the configuration, which may do everything.
    #[must_use]
    pub fn new(admin: Option<&SecretString>) -> Self {
        let admin = admin.map(|key| hash(key.expose_secret()));
        Self { admin, is_public: false, by_id: ArcSwapOption::empty(), file: None }
    }

    /// For a service that others than this machine can ask.
    #[must_use]
    pub fn for_public(self, is_public: bool) -> Self {
        Self { is_public, ..self }
    }

    /// Keeps the keys in this file too, whenever they change.
    #[must_use]
    pub fn kept_in(self, path: PathBuf) -> Self {
        Self { file: Some(KeyFile { path, kept: Mutex::default() }), ..self }
    }

    /// Takes over the keys that were kept: as they were when the store was last read.
    ///
    /// # Errors
    /// Those of [`kept_keys`]; also when they are kept nowhere.
    pub async fn start_from_disk(&self) -> io::Result<()> {
        let path = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?.path.clone();
        let records = tokio::task::spawn_blocking(move || kept_keys(&path)).await.map_err(io::Error::other)??;
        self.take_over(records);
        Ok(())
    }

    /// Tells the store what was used of quotas, and reads the keys from it.
    ///
    /// # Errors
    /// [`StoreError`]; the keys read before stay in force.
    pub async fn refresh(&self, store: &dyn Store) -> Result<(), StoreError> {
        let known = self.by_id.load_full();
        for key in known.iter().flat_map(|keys| keys.values()) {
            let Some(used) = key.limits.to_tell() else { continue };
            if let Err(error) = in_time(PATIENCE, store.count_requests(&key.record.id, used)).await {
                key.limits.untold(used);
                return Err(error);
            }
        }
        let records = in_time(PATIENCE, store.keys()).await?;
        if records.is_empty() && self.by_id.load().as_ref().is_some_and(|known| !known.is_empty()) {
            // Keys are revoked, never deleted. This is another database, and must not open a house that was closed.
            return Err(StoreError::Failed("the keys are gone; those read before stay in force".to_owned()));
        }
        self.take_over(records.clone());
        self.keep(records).await;
        Ok(())
    }

    async fn keep(&self, mut records: Vec<KeyRecord>) {
        let Some(file) = &self.file else { return };
        // What counts against quotas changes with each request.
        records.iter_mut().for_each(|record| record.used = DayUse::default());
        if file.kept.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(&records) {
            return;
        }
        let (path, text) = (file.path.clone(), serde_json::to_vec(&records));
        let write = move || snapshot::replace(&path, |file| file.write_all(&text?));
        match tokio::task::spawn_blocking(write).await.map_err(io::Error::other).flatten() {
            Ok(()) => *file.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(records),
            Err(error) => tracing::warn!(%error, "the keys cannot be kept for a start without the store; trying on"),
        }
    }

    /// The tenants that have a key in force.
    #[must_use]
    pub fn tenants(&self, now: Timestamp) -> BTreeSet<Tenant> {
        let keys = self.by_id.load_full();
        let records = keys.iter().flat_map(|keys| keys.values()).map(|key| &key.record);
        records.filter(|record| is_in_force(record, now)).map(|record| record.tenant.clone()).collect()
    }

    fn take_over(&self, records: Vec<KeyRecord>) {
        let known = self.by_id.load_full();
        let key = |record: KeyRecord| {
            let before = known.as_ref().and_then(|keys| keys.get(&record.id));
            let limits = match before.filter(|key| key.limits.are_of(&record)) {
                Some(key) => {
                    key.limits.learn(record.used);
                    Arc::clone(&key.limits)
                }
                None => Arc::new(Limits::of(&record)),
            };
            (record.id.clone(), Arc::new(Key { record, limits }))
        };
        self.by_id.store(Some(Arc::new(records.into_iter().map(key).collect())));
    }

    /// Who presents `token`, provided that it grants one of `scopes`. While no key was ever made and none is configured, everything
    /// is open to this machine. To others nothing is: where they can ask there were keys at the start, and a database that has none is another one. A key that was
    /// revoked still closes the house.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check(&self, token: Option<&str>, scopes: &[Scope], now: Timestamp) -> Result<Caller, Refusal> {
        if let (Some(admin), Some(token)) = (&self.admin, token)
            && bool::from(admin.ct_eq(&hash(token)))
        {
            return Ok(Caller::Configured);
        }
        let by_id = self.by_id.load();
        let Some(by_id) = by_id.as_ref() else { return Err(Refusal::Unknown) };
        if by_id.is_empty() && self.admin.is_none() && !self.is_public {
            return Ok(Caller::Anyone);
        }
        let Some(token) = token else { return Err(Refusal::Missing) };
        let named = token.strip_prefix("mk_").and_then(|rest| rest.split_once('_'));
        let found = named.and_then(|(id, secret)| Some((by_id.get(id)?, hash(secret))));
        let Some((key, presented)) = found else { return Err(Refusal::NotInForce) };
        let record = &key.record;
        let is_secret = |stored: &[u8]| bool::from(stored.ct_eq(&presented));
        let is_previous = |previous: &PreviousSecret| is_secret(&previous.secret_hash) && previous.until > now;
        let is_it = is_secret(&record.secret_hash) || record.previous.as_ref().is_some_and(is_previous);
        if !is_it || !is_in_force(record, now) {
            return Err(Refusal::NotInForce);
        }
        let may =
            |scope: &Scope| record.scopes.iter().any(|held| held == scope.as_str() || held == Scope::Admin.as_str());
        if scopes.iter().any(may) { Ok(Caller::Key(Arc::clone(key))) } else { Err(Refusal::OutOfScope) }
    }
}

fn is_in_force(record: &KeyRecord, now: Timestamp) -> bool {
    record.revoked_at.is_none() && record.expires_at.is_none_or(|end| end > now)
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(records: Vec<KeyRecord>, admin: Option<&str>) -> Keys {
        let admin = admin.map(SecretString::from);
        let keys = Keys::new(admin.as_ref());
        keys.take_over(records);
        keys
    }

    /// `None`: it may.
    fn refusal(keys: &Keys, token: Option<&str>, scopes: &[Scope], now: Timestamp) -> Option<Refusal> {
        keys.check(token, scopes, now).err()
    }

    #[test]
    fn a_key_grants_its_scopes_until_its_end() {
        let now = Timestamp::UNIX_EPOCH;
        let later = Timestamp::from_second(60).unwrap();
        let made = NewKey::generate("shop".to_owned(), &[Scope::Recommend], now, Some(later));
        let token = made.token.expose_secret();
        assert!(!format!("{:?}", made.record).contains(token.rsplit('_').next().unwrap()), "the record has no secret");
        let keys = keys(vec![made.record.clone()], None);
        assert_eq!(refusal(&keys, Some(token), &[Scope::Recommend, Scope::Catalogue], now), None);
        assert_eq!(refusal(&keys, Some(token), &[Scope::Admin], now), Some(Refusal::OutOfScope));
        assert_eq!(refusal(&keys, Some(token), &[Scope::Recommend], later), Some(Refusal::NotInForce));
        assert_eq!(refusal(&keys, None, &[Scope::Recommend], now), Some(Refusal::Missing));
        for wrong in ["", "mk_", "mk_x_y", &token[..token.len() - 1], &format!("{token}0")] {
            assert_eq!(refusal(&keys, Some(wrong), &[Scope::Recommend], now), Some(Refusal::NotInForce), "{wrong}");
        }
    }

    #[test]
    fn a_secret_that_was_replaced_is_good_for_a_while() {
        let now = Timestamp::UNIX_EPOCH;
        let until = Timestamp::from_second(60).unwrap();
        let mut made = NewKey::generate("shop".to_owned(), &[Scope::Recommend], now, None);
        let (hash, token) = new_secret(&made.record.id);
        let (old, new) = (made.token.expose_secret(), token.expose_secret());
        let before = std::mem::replace(&mut made.record.secret_hash, hash);
        made.record.previous = Some(PreviousSecret { secret_hash: before, until });
        let held = keys(vec![made.record.clone()], None);
        for (token, at, refused) in
            [(old, now, None), (new, now, None), (old, until, Some(Refusal::NotInForce)), (new, until, None)]
        {
            assert_eq!(refusal(&held, Some(token), &[Scope::Recommend], at), refused);
        }
        made.record.revoked_at = Some(now);
        let revoked = keys(vec![made.record], None);
        for token in [old, new] {
            assert_eq!(refusal(&revoked, Some(token), &[Scope::Recommend], now), Some(Refusal::NotInForce));
        }
    }

    #[test]
    fn limits_outlive_a_look_at_the_store_and_change_with_it() {
        let now = Timestamp::from_second(86_400).unwrap();
        let mut made = NewKey::generate("shop".to_owned(), &[Scope::Recommend], now, None);
        made.record.rate = Some(2);
        let keys = keys(vec![made.record.clone()], None);
        let admit = || {
            let caller = keys.check(Some(made.token.expose_secret()), &[Scope::Recommend], now);
            caller.ok().unwrap().admit(now).refused.is_none()
        };
        assert!(admit());
        keys.take_over(vec![made.record.clone()]);
        assert_eq!([admit(), admit()], [true, false]);
        keys.take_over(vec![KeyRecord { rate: Some(3), ..made.record.clone() }]);
        assert!(admit());
    }

    #[test]
    fn admin_may_everything_and_the_house_stays_closed() {
        let now = Timestamp::UNIX_EPOCH;
        let mut made = NewKey::generate("root".to_owned(), &[Scope::Admin], now, None);
        let token = made.token.expose_secret().to_owned();
        let open = keys(Vec::new(), None);
        assert_eq!(refusal(&open, None, &[Scope::Admin], now), None);
        let public = open.for_public(true);
        for (presented, refused) in [(None, Refusal::Missing), (Some(&*token), Refusal::NotInForce)] {
            assert_eq!(refusal(&public, presented, &[Scope::Recommend], now), Some(refused), "the database is gone");
        }
        let held = keys(vec![made.record.clone()], None);
        assert_eq!(refusal(&held, Some(&token), &[Scope::Events], now), None);
        made.record.revoked_at = Some(now);
        let revoked = keys(vec![made.record], None);
        assert_eq!(refusal(&revoked, Some(&token), &[Scope::Events], now), Some(Refusal::NotInForce));
        assert_eq!(refusal(&revoked, None, &[Scope::Events], now), Some(Refusal::Missing));
        let secret = "a secret of at least 32 characters";
        let configured = keys(Vec::new(), Some(secret));
        assert_eq!(refusal(&configured, Some(secret), &[Scope::Admin], now), None);
        assert_eq!(refusal(&configured, None, &[Scope::Recommend], now), Some(Refusal::Missing));
        assert_eq!(refusal(&Keys::new(None), None, &[Scope::Recommend], now), Some(Refusal::Unknown));
    }
}
