//! The real data sets that some tests read: they are not part of the project.

use std::path::{Path, PathBuf};

/// The folder that `MEDLEY_TEST_DATA` names, by default `../shared/data` beside the project. `None`, said plainly on stderr,
/// when it is not there: the calling test then has nothing to test.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("MEDLEY_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("real data missing: {} is no folder; set MEDLEY_TEST_DATA. NOT TESTED.", folder.display());
    None
}
