//! One contract, both databases: every case here runs on SQLite and on Postgres.

#[path = "../support/mod.rs"]
mod support;

/// Makes a test of each case for both databases: `async fn case(database: &Database)`.
macro_rules! on_both_databases {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(&crate::database::Database::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(&crate::database::Database::postgres().await).await;
            })*
        }
    };
}

/// The same, and both databases encrypted as well.
macro_rules! on_both_databases_also_encrypted {
    ($($case:ident),* $(,)?) => {
        on_both_databases!($($case),*);
        mod encrypted_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(&crate::database::Database::sqlite().encrypted(1)).await;
            })*
        }
        mod encrypted_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(&crate::database::Database::postgres().await.encrypted(1)).await;
            })*
        }
    };
}

mod behaviour;
mod catalogue;
mod compacting;
mod database;
mod encryption;
mod equality;
mod models_jobs_keys;
mod opening;
mod training;
mod vectors;
