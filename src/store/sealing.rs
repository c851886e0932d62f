//! Encryption at rest: what a person did is sealed under a key of their own, and found by a pseudonym.
//!
//! Three levels of keys, each sealing the next: the *master key* of the operator, the *tenant key* in `tenant_keys`, and a key for each person in
//! `people`. From the tenant key come, by HKDF-SHA256 (RFC 5869), the key of the pseudonyms and the key that seals the keys of people. Everything is sealed with
//! AES-256-GCM-SIV (RFC 8452), which forgives a nonce that is drawn twice, and bound to what it belongs to, so that no row can be put in another's place.

use aes_gcm_siv::aead::{Aead as _, Payload};
use aes_gcm_siv::{Aes256GcmSiv, KeyInit as _, Nonce};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::Sha256;

use super::shared::{micros, timestamp, unreadable};
use super::{Result, StoreError};
use crate::domain::{Event, InteractionKind, UserId};

const KEY: usize = 32;
const NONCE: usize = 12;
/// So many bytes of an HMAC are a pseudonym: with 128 bits, ten thousand million of them share one with a chance below one in 10^18.
const PSEUDONYM: usize = 16;

/// The kinds that sealed events have in the database: impressions stay apart, as no history reads them.
const SEALED: &str = "sealed";
const SEALED_IMPRESSION: &str = "sealed impression";

/// The operator's key: seals the tenant's, and nothing else.
pub struct MasterKey(SecretBox<[u8; KEY]>);

impl MasterKey {
    /// `None`: it is not 32 bytes in base64 (either alphabet) or in hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_end_matches('=').replace('+', "-").replace('/', "_");
        let digit = |at: usize| text.get(2 * at..2 * at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        let bytes = if text.len() == 2 * KEY {
            (0..KEY).map(digit).collect::<Option<Vec<u8>>>()?
        } else {
            BASE64.decode(&text).ok()?
        };
        Some(Self(SecretBox::new(Box::new(bytes.try_into().ok()?))))
    }

    /// A new tenant key, sealed.
    pub(super) fn new_tenant(&self, tenant: &str) -> Result<Vec<u8>> {
        self.seal_tenant(tenant, &SecretBox::new(Box::new(rand::random::<[u8; KEY]>())))
    }

    /// The sealed key of a tenant, sealed under another master key.
    pub(super) fn resealed(&self, tenant: &str, sealed: &[u8], new: &Self) -> Result<Vec<u8>> {
        new.seal_tenant(tenant, &self.open_tenant(tenant, sealed)?)
    }

    /// What seals and opens a tenant's behaviour.
    pub(super) fn sealer(&self, tenant: &str, sealed: &[u8]) -> Result<Sealer> {
        Ok(Sealer::new(&self.open_tenant(tenant, sealed)?))
    }

    fn seal_tenant(&self, tenant: &str, key: &SecretBox<[u8; KEY]>) -> Result<Vec<u8>> {
        seal(&cipher(self.0.expose_secret()), tenant, key.expose_secret())
    }

    fn open_tenant(&self, tenant: &str, sealed: &[u8]) -> Result<SecretBox<[u8; KEY]>> {
        let wrong = || {
            StoreError::Failed(format!(
                "the master key is not the one that this store was encrypted with (tenant `{tenant}`)"
            ))
        };
        let bytes = open(&cipher(self.0.expose_secret()), tenant, sealed).ok_or_else(wrong)?;
        Ok(SecretBox::new(Box::new(bytes.try_into().map_err(|_| wrong())?)))
    }
}

/// Seals and opens the behaviour of one tenant.
pub(super) struct Sealer {
    pseudonyms: Hmac<Sha256>,
    people: Aes256GcmSiv,
}

/// The pseudonym that stands for an id in the database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pseudonym(pub String);

impl Sealer {
    fn new(tenant: &SecretBox<[u8; KEY]>) -> Self {
        let keys = Hkdf::<Sha256>::new(None, tenant.expose_secret());
        let derived = |purpose: &[u8]| {
            let mut key = [0; KEY];
            keys.expand(purpose, &mut key).expect("32 bytes are not too many for HKDF");
            key
        };
        Self {
            pseudonyms: Hmac::new_from_slice(&derived(b"medley pseudonyms")).expect("HMAC takes any key"),
            people: cipher(&derived(b"medley people")),
        }
    }

    pub(super) fn pseudonym(&self, user: &UserId) -> Pseudonym {
        Pseudonym(self.hidden("user", user.as_str()))
    }

    /// What stands for them in the audit log: not the pseudonym of their events, of which an erasure leaves nothing.
    pub(super) fn person_in_audit(&self, user: &UserId) -> String {
        self.hidden("audit", user.as_str())
    }

    /// The same for the same text and purpose, and says nothing of the text.
    fn hidden(&self, purpose: &str, text: &str) -> String {
        let mut mac = self.pseudonyms.clone();
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(text.as_bytes());
        BASE64.encode(&mac.finalize().into_bytes()[..PSEUDONYM])
    }

    /// A key for somebody, sealed together with their id: what `people` holds.
    pub(super) fn new_person(&self, user: &UserId) -> Result<Vec<u8>> {
        let mut plain = rand::random::<[u8; KEY]>().to_vec();
        plain.extend_from_slice(user.as_str().as_bytes());
        seal(&self.people, &self.pseudonym(user).0, &plain)
    }

    /// Opens what `people` holds.
    pub(super) fn person(&self, pseudonym: &Pseudonym, sealed: &[u8]) -> Result<Person> {
        let read = || {
            let plain = open(&self.people, &pseudonym.0, sealed)?;
            let (key, user) = plain.split_first_chunk::<KEY>()?;
            let user_id = UserId::new(std::str::from_utf8(user).ok()?).ok()?;
            Some(Person { cipher: cipher(key), pseudonym: pseudonym.clone(), user_id })
        };
        read().ok_or_else(|| unreadable("person"))
    }

    /// What stands in the database for the event's own id: unique as the id is.
    pub(super) fn event_id(&self, event: &Event) -> Option<String> {
        event.event_id.as_ref().map(|id| self.hidden("event", id.as_str()))
    }
}

/// Somebody whose key is at hand.
pub(super) struct Person {
    pub user_id: UserId,
    pub pseudonym: Pseudonym,
    cipher: Aes256GcmSiv,
}

impl Person {
    /// An event of this person, as one text. What is sealed are its fields with tabs between them, which no id holds: item, kind, value,
    /// microseconds since 1970, event id, recommendation id, position; a field that is not there is empty.
    pub(super) fn seal(&self, event: &Event) -> Result<String> {
        let Event { event_id, user_id: _, item_id, kind, value, at, recommendation_id, position } = event;
        let value = value.map(|value| format!("{value:?}")).unwrap_or_default();
        let event_id = event_id.as_ref().map_or("", |id| id.as_str());
        let recommendation = recommendation_id.as_ref().map_or("", |id| id.as_str());
        let position = position.map(|position| position.to_string()).unwrap_or_default();
        let (kind, at) = (kind.as_str(), micros(*at));
        let plain = format!("{}\t{kind}\t{value}\t{at}\t{event_id}\t{recommendation}\t{position}", item_id.as_str());
        Ok(BASE64.encode(seal(&self.cipher, &self.pseudonym.0, plain.as_bytes())?))
    }

    /// Reads such a text.
    pub(super) fn open(&self, text: &str) -> Result<Event> {
        let read = || {
            let plain = self.plain(text)?;
            let mut fields = plain.split('\t');
            let (item_id, kind, value, at) = behaviour(&mut fields)?;
            let mut text = || Some(fields.next()?.to_owned()).filter(|text| !text.is_empty());
            Some(Event {
                event_id: text().map(TryInto::try_into).transpose().ok()?,
                user_id: self.user_id.clone(),
                item_id: item_id.to_owned().try_into().ok()?,
                kind,
                value,
                at: timestamp(at).ok()?,
                recommendation_id: text().map(TryInto::try_into).transpose().ok()?,
                position: text().map(|text| text.parse()).transpose().ok()?,
            })
        };
        read().ok_or_else(|| unreadable("event"))
    }

    /// Reads of it what a history needs: item, kind, value, and microseconds since 1970.
    pub(super) fn open_behaviour(&self, text: &str) -> Result<(String, InteractionKind, Option<f64>, i64)> {
        let read = || {
            let plain = self.plain(text)?;
            let (item, kind, value, at) = behaviour(&mut plain.split('\t'))?;
            Some((item.to_owned(), kind, value, at))
        };
        read().ok_or_else(|| unreadable("event"))
    }

    fn plain(&self, text: &str) -> Option<String> {
        String::from_utf8(open(&self.cipher, &self.pseudonym.0, &BASE64.decode(text).ok()?)?).ok()
    }
}

fn behaviour<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<(&'a str, InteractionKind, Option<f64>, i64)> {
    let (item, kind, value) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?);
    let value = if value.is_empty() { None } else { Some(value.parse().ok()?) };
    Some((item, kind, value, fields.next()?.parse().ok()?))
}

/// The kind that a sealed event has in the database.
pub(super) fn sealed_kind(kind: InteractionKind) -> &'static str {
    if kind == InteractionKind::Impression { SEALED_IMPRESSION } else { SEALED }
}

fn cipher(key: &[u8; KEY]) -> Aes256GcmSiv {
    Aes256GcmSiv::new(key.into())
}

fn seal(cipher: &Aes256GcmSiv, belongs_to: &str, plain: &[u8]) -> Result<Vec<u8>> {
    let nonce: [u8; NONCE] = rand::random();
    let payload = Payload { msg: plain, aad: belongs_to.as_bytes() };
    let sealed = cipher.encrypt(&Nonce::from(nonce), payload).map_err(|_| unreadable("text"))?;
    Ok([nonce.as_slice(), &sealed].concat())
}

fn open(cipher: &Aes256GcmSiv, belongs_to: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
    cipher.decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: belongs_to.as_bytes() }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(fill: u8) -> MasterKey {
        MasterKey(SecretBox::new(Box::new([fill; KEY])))
    }

    fn event(value: Option<f64>) -> Event {
        let id = |text: &str| text.to_owned();
        Event {
            event_id: Some(id("e").try_into().unwrap()),
            user_id: id("ann").try_into().unwrap(),
            item_id: id("movie-1").try_into().unwrap(),
            kind: InteractionKind::Rating,
            value,
            at: "2026-01-02T03:04:05.678901Z".parse().unwrap(),
            recommendation_id: None,
            position: Some(3),
        }
    }

    #[test]
    fn a_master_key_is_read_in_each_way_of_writing_it() {
        let hex = "ff".repeat(32);
        let base64 = format!("{}8=", "/".repeat(42));
        for text in [hex.as_str(), &base64, &format!(" {}\n", base64.trim_end_matches('=').replace('/', "_"))] {
            assert_eq!(MasterKey::parse(text).unwrap().0.expose_secret(), &[255; 32], "{text}");
        }
        for text in ["", "short", &"f".repeat(63), &"g".repeat(64), &"é".repeat(32)] {
            assert!(MasterKey::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_was_sealed_is_read_with_the_same_keys_alone() {
        let sealed_tenant = master(1).new_tenant("default").unwrap();
        let sealer = master(1).sealer("default", &sealed_tenant).unwrap();
        assert!(master(2).sealer("default", &sealed_tenant).is_err(), "another master key");
        assert!(master(1).sealer("other", &sealed_tenant).is_err(), "another tenant");
        let turned = master(1).resealed("default", &sealed_tenant, &master(2)).unwrap();
        let again = master(2).sealer("default", &turned).unwrap();

        let event = event(Some(0.1 + 0.2));
        let pseudonym = sealer.pseudonym(&event.user_id);
        assert_eq!(pseudonym, again.pseudonym(&event.user_id));
        assert_eq!(sealer.event_id(&event), again.event_id(&event));
        let key = sealer.new_person(&event.user_id).unwrap();
        let text = sealer.person(&pseudonym, &key).unwrap().seal(&event).unwrap();
        let person = again.person(&pseudonym, &key).unwrap();
        assert_eq!((person.open(&text).unwrap(), &person.user_id), (event.clone(), &event.user_id));
        assert!(!text.contains("movie") && !pseudonym.0.contains("ann"));

        let other = Pseudonym("other".to_owned());
        assert!(sealer.person(&other, &key).is_err(), "a key put in another's place");
        let another = sealer.person(&pseudonym, &sealer.new_person(&event.user_id).unwrap()).unwrap();
        assert!(another.open(&text).is_err(), "a key made after an erasure");
        let mut changed = text.into_bytes();
        changed[30] = if changed[30] == b'A' { b'B' } else { b'A' };
        assert!(person.open(&String::from_utf8(changed).unwrap()).is_err(), "a text that was changed");
    }
}
