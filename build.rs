//! Builds again when a migration is added: `sqlx::migrate!` embeds the folder, and by itself sees only changed files.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
