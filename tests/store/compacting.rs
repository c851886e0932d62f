//! What compacting leaves to others is told.

use medley::store::{self, Options};
use sqlx::{AssertSqlSafe, PgPool};

use crate::database::{Database, event, user};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_of_postgres_may_not_write_anew_is_left_to_the_owner() {
    let database = Database::postgres().await;
    let owner = PgPool::connect(&database.options().url).await.unwrap();
    let role = format!("medley_role_{}", std::process::id());
    let execute = async |statement: String| {
        sqlx::query(AssertSqlSafe(statement)).execute(&owner).await.unwrap();
    };
    execute(format!("CREATE ROLE {role} LOGIN PASSWORD 'x'")).await;
    execute(format!("GRANT ALL ON SCHEMA public TO {role}")).await;
    let url = database.options().url;
    let place = url.rsplit_once('@').unwrap().1;
    let options = Options { url: format!("postgres://{role}:x@{place}"), ..database.options() };
    let of_role = store::open(&options).await.unwrap();
    of_role.migrate().await.unwrap();
    of_role.append_events(&[event(None, "ann", "a", 1), event(None, "bob", "b", 1)]).await.unwrap();
    of_role.erase_user(&user("ann")).await.unwrap();
    // The tables are the role's, and the database is not.
    assert_eq!(of_role.compact().await.unwrap(), ["VACUUM FULL pg_catalog.pg_statistic"]);
    assert_eq!(database.replica().await.compact().await.unwrap(), [""; 0]);
    // Somebody else's tables.
    for table in ["events", "people"] {
        execute(format!("ALTER TABLE {table} OWNER TO CURRENT_USER")).await;
        execute(format!("GRANT SELECT ON {table} TO {role}")).await;
    }
    assert_eq!(
        of_role.compact().await.unwrap(),
        ["VACUUM FULL ANALYZE events", "VACUUM FULL ANALYZE people", "VACUUM FULL pg_catalog.pg_statistic"]
    );
    assert_eq!(of_role.count_events().await.unwrap(), 1);
    of_role.close().await;
    execute(format!("DROP OWNED BY {role}")).await;
    execute(format!("DROP ROLE {role}")).await;
    owner.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_writes_its_file_anew_as_a_whole() {
    let database = Database::sqlite();
    assert_eq!(database.store().await.compact().await.unwrap(), [""; 0]);
}
