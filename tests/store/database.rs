//! An empty database for one case, and the makers of what the cases store.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use medley::domain::{Domain, Event, EventId, InteractionKind, Item, ItemId, UserId};
use medley::store::{self, MasterKey, Options, Store};
use sqlx::Connection as _;

use crate::support::postgres::{TestDatabase, database};

/// An empty database that is gone at the end of the case.
pub struct Database {
    place: Place,
    master_key: Option<Arc<MasterKey>>,
}

enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(TestDatabase),
}

/// A master key of its own for each number.
pub fn master_key(number: u8) -> MasterKey {
    MasterKey::parse(&format!("{number:02x}").repeat(32)).unwrap()
}

impl Database {
    pub fn sqlite() -> Self {
        Self { place: Place::Sqlite(tempfile::tempdir().unwrap()), master_key: None }
    }

    pub async fn postgres() -> Self {
        Self { place: Place::Postgres(database().await), master_key: None }
    }

    /// From now on, stores are opened with this master key.
    pub fn encrypted(self, number: u8) -> Self {
        Self { master_key: Some(Arc::new(master_key(number))), ..self }
    }

    /// From now on, stores are opened without a master key.
    pub fn without_key(self) -> Self {
        Self { master_key: None, ..self }
    }

    pub fn is_encrypted(&self) -> bool {
        self.master_key.is_some()
    }

    pub fn kind(&self) -> &'static str {
        match self.place {
            Place::Sqlite(_) => "sqlite",
            Place::Postgres(_) => "postgres",
        }
    }

    pub fn options(&self) -> Options {
        let url = match &self.place {
            Place::Sqlite(folder) => format!("sqlite://{}", folder.path().join("in/a folder/medley.db").display()),
            Place::Postgres(database) => database.url.clone(),
        };
        Options {
            url,
            max_connections: 4,
            acquire_timeout: Duration::from_secs(20),
            master_key: self.master_key.clone(),
        }
    }

    /// The bytes of all files of a SQLite database.
    pub fn bytes(&self) -> Vec<u8> {
        let Place::Sqlite(folder) = &self.place else { panic!("its files are the server's") };
        let files = std::fs::read_dir(folder.path().join("in/a folder")).unwrap();
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }

    /// Executes a statement beside the store.
    pub async fn execute(&self, statement: &'static str) {
        let url = self.options().url;
        match self.place {
            Place::Sqlite(_) => {
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                sqlx::query(statement).execute(&mut connection).await.unwrap();
            }
            Place::Postgres(_) => {
                let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
                sqlx::query(statement).execute(&mut connection).await.unwrap();
            }
        }
    }

    /// A store of its own on this database, like that of one replica; not migrated.
    pub async fn replica(&self) -> Arc<dyn Store> {
        store::open(&self.options()).await.unwrap()
    }

    /// A migrated store.
    pub async fn store(&self) -> Arc<dyn Store> {
        let store = self.replica().await;
        store.migrate().await.unwrap();
        store
    }
}

pub fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub fn item_id(id: &str) -> ItemId {
    ItemId::new(id).unwrap()
}

/// A time: seconds after some day in 2025.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_750_000_000 + seconds).unwrap()
}

pub fn item(id: &str, domain: &str, title: &str) -> Item {
    Item {
        id: item_id(id),
        domain: Domain::new(domain).unwrap(),
        title: title.to_owned(),
        genres: vec![],
        tags: vec![],
        description: None,
        creators: vec![],
        released: None,
        attributes: std::collections::BTreeMap::new(),
        available: true,
    }
}

/// A `play` without value.
pub fn event(event_id: Option<&str>, user_id: &str, item: &str, seconds: i64) -> Event {
    Event {
        event_id: event_id.map(|id| EventId::new(id).unwrap()),
        user_id: user(user_id),
        item_id: item_id(item),
        kind: InteractionKind::Play,
        value: None,
        at: at(seconds),
        recommendation_id: None,
        position: None,
    }
}
