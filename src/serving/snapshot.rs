//! What lies on the disk for a start without the store: the catalogue, beside the models. Lines of JSON: a head, the items, and a checksum of all before it.
//! Written in the background from what is in memory, as a whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::domain::Item;

use super::Service;
use super::keys::hex;

/// The layout that this version writes and reads.
const FORMAT: u32 = 1;
/// However often the catalogue changes, it is not written again before so long...
const PAUSE: Duration = Duration::from_secs(10);
/// ...and not before so many times the time that the last writing took: at most a twentieth of one processor.
const PAUSE_TIMES: u32 = 20;

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    format: u32,
    items: usize,
    /// The version that answered when it was written.
    pub(super) model: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Foot {
    sha256: String,
}

/// Writes a file in the place of the one that is there, or leaves that as it is. Only its owner may read it.
pub(super) fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // Others may write at the same time, where services share a folder: the last one stays.
    let draft = folder.join(format!(".{}.draft", Uuid::new_v4()));
    let written = (|| {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = BufWriter::with_capacity(1 << 16, options.open(&draft)?);
        write(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // Nothing of it is left behind, for the disk may be full.
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Passes on what is written, and sums it up.
struct Summed<'a>(&'a mut dyn Write, Sha256);

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes)?;
        self.1.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn write(path: &Path, model: Option<String>, items: &[Arc<Item>]) -> io::Result<()> {
    replace(path, |file| {
        let mut summed = Summed(file, Sha256::new());
        let mut line = |value: Vec<u8>| {
            summed.write_all(&value)?;
            summed.write_all(b"\n")
        };
        line(serde_json::to_vec(&Head { format: FORMAT, items: items.len(), model })?)?;
        for item in items {
            line(serde_json::to_vec(&**item)?)?;
        }
        let foot = Foot { sha256: hex(&summed.1.finalize()) };
        file.write_all(&serde_json::to_vec(&foot)?)
    })
}

/// Reads a snapshot and checks all of it; `None`: there is none.
///
/// # Errors
/// It cannot be read, is broken, or is of another format.
pub(super) fn read(path: &Path) -> io::Result<Option<(Head, Vec<Item>)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    let (mut file, mut sum, mut line) = (BufReader::with_capacity(1 << 16, file), Sha256::new(), Vec::new());
    let mut next = |sum: &mut Sha256, line: &mut Vec<u8>| {
        line.clear();
        let read = file.read_until(b'\n', line)?;
        sum.update(&line);
        if read == 0 { Err(broken("it breaks off")) } else { Ok(()) }
    };
    next(&mut sum, &mut line)?;
    let head: Head = serde_json::from_slice(&line)?;
    if head.format != FORMAT {
        return Err(broken("another version wrote it"));
    }
    let mut items = Vec::new();
    for _ in 0..head.items {
        next(&mut sum, &mut line)?;
        items.push(serde_json::from_slice(&line)?);
    }
    let found = hex(&sum.clone().finalize());
    next(&mut sum, &mut line)?;
    let foot: Foot = serde_json::from_slice(&line)?;
    if foot.sha256 == found { Ok(Some((head, items))) } else { Err(broken("it does not match its checksum")) }
}

/// Keeps the snapshot in step with the catalogue and the model in force, as long as the service lives.
pub(super) async fn follow(service: Weak<Service>, path: PathBuf, interval: Duration) {
    let (mut kept, mut not_before, mut complained) = (None, Instant::now(), false);
    loop {
        tokio::time::sleep(interval).await;
        let Some(service) = service.upgrade() else { return };
        // What came from the disk and was not seen in the store yet is on the disk already.
        if !service.catalogue.is_loaded() || service.catalogue.is_from_disk() || Instant::now() < not_before {
            continue;
        }
        let model = service.models.current().map(|live| live.model.manifest.version.clone());
        let state = (service.catalogue.read().changes(), model.clone());
        if kept.as_ref() == Some(&state) {
            continue;
        }
        let (items, path, started) = (service.catalogue.items(), path.clone(), Instant::now());
        drop(service);
        let written = tokio::task::spawn_blocking(move || write(&path, model, &items)).await;
        not_before = Instant::now() + PAUSE.max(started.elapsed() * PAUSE_TIMES);
        match written.map_err(io::Error::other).flatten() {
            Ok(()) => (kept, complained) = (Some(state), false),
            Err(error) if !complained => {
                tracing::warn!(%error, "the snapshot of the catalogue cannot be written; trying on");
                complained = true;
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Domain, ItemId};

    fn items() -> Vec<Arc<Item>> {
        let item = |id: &str| Item {
            id: ItemId::new(id).unwrap(),
            domain: Domain::new("movie").unwrap(),
            title: format!("The {id}\n\u{2028}"),
            genres: vec!["科幻".to_owned()],
            tags: Vec::new(),
            description: Some("\"".to_owned()),
            creators: Vec::new(),
            released: Some(jiff::civil::date(1999, 12, 31)),
            attributes: [("language".to_owned(), vec!["en".to_owned()])].into(),
            available: false,
        };
        ["a", "b", "c"].map(item).map(Arc::new).to_vec()
    }

    #[test]
    fn a_snapshot_is_read_as_it_was_written_and_takes_the_place_of_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/catalogue.ndjson");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, None, &[]).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().1, []);
        write(&path, Some("v1".to_owned()), &items()).unwrap();
        let (head, found) = read(&path).unwrap().unwrap();
        assert_eq!(head.model.as_deref(), Some("v1"));
        assert_eq!(found, items().iter().map(|item| (**item).clone()).collect::<Vec<_>>());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no drafts are left");
    }

    #[test]
    fn what_is_broken_anywhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogue.ndjson");
        write(&path, Some("v1".to_owned()), &items()).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            fs::write(&path, &whole[..at]).unwrap();
            assert!(read(&path).is_err(), "cut off at {at}");
            let mut other = whole.clone();
            other[at] ^= 1;
            fs::write(&path, &other).unwrap();
            assert!(read(&path).is_err(), "another byte at {at}");
        }
    }

    #[test]
    fn a_failed_write_leaves_the_file_as_it_was_and_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, |file| file.write_all(b"first")).unwrap();
        let failed = replace(&path, |file| {
            file.write_all(b"second")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
