//! The catalogue on the disk, beside the models: for a start without the store, and for one that reads only what has changed in the store since. Written in the
//! background from what is in memory, as a whole or not at all.
//!
//! A line of JSON that says what it is; the terms: how many bytes their names have and how many they are, a line for each name, how many items have each; the items in blocks,
//! with what they are found by; the SHA-256 of all before it. A block: how many bytes of JSON, items and terms it has; a line of JSON for each item; where the terms of each
//! end, the terms, and their weights in a byte each. All other numbers have four bytes, the least first.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::engine::catalogue::ReadItem;
use crate::engine::catalogue::indexed::{Indexed, IndexedItems, READING};

use super::Service;

/// The layout that this version writes and reads.
const FORMAT: u32 = 2;
/// So many items are a block, which is read and written as a whole; or fewer, whose texts have so many bytes together.
const BLOCK: usize = 4_096;
const BLOCK_BYTES: usize = 64 << 20;
/// No block has more bytes: not even one of texts that are written with six bytes for each of theirs.
const LARGEST_BLOCK: u64 = 1 << 30;
/// However often the catalogue changes, it is not written again before so long...
const PAUSE: Duration = Duration::from_secs(10);
/// ...and not before so many times the time that the last writing took: at most a twentieth of one processor.
const PAUSE_TIMES: u32 = 20;
/// No file takes so long to write: a draft that is older was left behind.
const A_DAY: Duration = Duration::from_hours(24);

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    format: u32,
    /// How the texts of its items were read ([`READING`]).
    reading: u32,
    pub(super) items: usize,
    /// It has all changes of the store up to this one, and perhaps later ones.
    pub(super) revision: i64,
    /// The version that answered when it was written.
    pub(super) model: Option<String>,
}

impl Head {
    /// Whether it was written as this program writes.
    pub(super) fn is_current(&self) -> bool {
        self.reading == READING
    }
}

/// What a snapshot has besides its head, in this order.
#[derive(Debug)]
pub(super) enum Part {
    /// The names of terms, a line each, and how many items have each.
    Names(String, Vec<u32>),
    Indexed(IndexedItems),
    /// In the place of the former: items that another program had read, read anew.
    Read(Vec<ReadItem>),
}

/// Writes a file in the place of the one that is there, or leaves that as it is. Only its owner may read it.
pub(super) fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    delete_abandoned(folder);
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

/// Deletes the drafts of processes that were killed. Younger ones stay: another process may be writing them.
fn delete_abandoned(folder: &Path) {
    let is_draft = |name: &str| {
        let id = name.strip_prefix('.').and_then(|name| name.strip_suffix(".draft"));
        id.is_some_and(|id| Uuid::try_parse(id).is_ok_and(|uuid| uuid.to_string() == id))
    };
    let is_old = |file: fs::Metadata| {
        file.is_file() && file.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > A_DAY))
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_draft) && entry.metadata().is_ok_and(is_old) {
            let deleted = fs::remove_file(entry.path());
            tracing::debug!(draft = %entry.path().display(), ?deleted, "the draft of a file was left behind");
        }
    }
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

fn write(path: &Path, revision: i64, model: Option<String>, catalogue: &Indexed) -> io::Result<()> {
    replace(path, |file| {
        let mut summed = Summed(file, Sha256::new());
        let head = Head { format: FORMAT, reading: READING, items: catalogue.len(), revision, model };
        summed.write_all(&serde_json::to_vec(&head)?)?;
        summed.write_all(b"\n")?;
        let names: String = catalogue.names.iter().flat_map(|name| [&**name, "\n"]).collect();
        write_numbers(&mut summed, &[names.len() as u32, catalogue.names.len() as u32])?;
        summed.write_all(names.as_bytes())?;
        write_numbers(&mut summed, &catalogue.frequencies())?;
        for IndexedItems { items, ends, terms, parts } in catalogue.parts(BLOCK, BLOCK_BYTES) {
            let mut json = Vec::new();
            for item in &items {
                serde_json::to_writer(&mut json, item)?;
                json.push(b'\n');
            }
            write_numbers(&mut summed, &[json.len(), items.len(), terms.len()].map(|number| number as u32))?;
            summed.write_all(&json)?;
            write_numbers(&mut summed, &ends)?;
            write_numbers(&mut summed, &terms)?;
            summed.write_all(&parts)?;
        }
        let sum = summed.1.finalize();
        file.write_all(&sum)
    })
}

fn write_numbers(file: &mut impl Write, numbers: &[u32]) -> io::Result<()> {
    file.write_all(&numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A snapshot that is being read.
pub(super) struct Snapshot {
    /// What it says of itself, unchecked until all of it was read.
    pub(super) head: Head,
    reader: Reader,
}

struct Reader {
    file: BufReader<File>,
    /// Of what was read so far.
    sum: Sha256,
}

impl Snapshot {
    /// Opens a snapshot; `None`: there is none.
    ///
    /// # Errors
    /// It cannot be read, or is of another format.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let size = file.metadata()?.len();
        let mut reader = Reader { file: BufReader::with_capacity(1 << 16, file), sum: Sha256::new() };
        let head: Head = reader.line()?;
        if head.format != FORMAT {
            return Err(broken("another version wrote it"));
        }
        // Room is made for them before the checksum was seen.
        if head.items as u64 > size {
            return Err(broken("it has fewer items than it says"));
        }
        Ok(Some(Self { head, reader }))
    }

    /// Reads it part by part.
    ///
    /// # Errors
    /// It cannot be read or is broken: no part of it is to be believed.
    pub(super) fn read(self, mut take: impl FnMut(Part)) -> io::Result<()> {
        let Self { head, mut reader } = self;
        let [bytes, count] = reader.counts()?;
        let names = String::from_utf8(reader.bytes(bytes as u64)?).map_err(io::Error::other)?;
        let frequencies = numbers(&reader.bytes(4 * count as u64)?);
        if names.split_terminator('\n').count() != count {
            return Err(broken("it has more or fewer terms than it says"));
        }
        take(Part::Names(names, frequencies));
        let mut left = head.items;
        while left > 0 {
            let block = reader.block(count)?;
            left =
                left.checked_sub(block.items.len().max(1)).ok_or_else(|| broken("it has more items than it says"))?;
            take(if head.is_current() {
                Part::Indexed(block)
            } else {
                Part::Read(block.items.into_par_iter().map(|(item, _)| ReadItem::new(item)).collect())
            });
        }
        let sum = reader.sum.clone().finalize();
        if reader.bytes(sum.len() as u64)? == sum[..] && reader.file.fill_buf()?.is_empty() {
            Ok(())
        } else {
            Err(broken("it does not match its checksum"))
        }
    }
}

impl Reader {
    fn line<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let mut line = Vec::new();
        self.file.read_until(b'\n', &mut line)?;
        self.sum.update(&line);
        Ok(serde_json::from_slice(&line)?)
    }

    fn bytes(&mut self, count: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.by_ref().take(count.min(LARGEST_BLOCK)).read_to_end(&mut bytes)?;
        self.sum.update(&bytes);
        if bytes.len() as u64 == count { Ok(bytes) } else { Err(broken("it breaks off")) }
    }

    fn counts<const COUNT: usize>(&mut self) -> io::Result<[usize; COUNT]> {
        let counts = numbers(&self.bytes(4 * COUNT as u64)?);
        Ok(std::array::from_fn(|at| counts[at] as usize))
    }

    fn block(&mut self, names: usize) -> io::Result<IndexedItems> {
        let [json, items, terms] = self.counts()?;
        let bytes = self.bytes((json + 4 * items + 5 * terms) as u64)?;
        let (json, rest) = bytes.split_at(json);
        let (ends, rest) = rest.split_at(4 * items);
        let (terms, parts) = rest.split_at(4 * terms);
        let lines = json.strip_suffix(b"\n").unwrap_or(json).par_split(|&byte| byte == b'\n');
        let items = lines.map(serde_json::from_slice).collect::<serde_json::Result<_>>()?;
        let block = IndexedItems { items, ends: numbers(ends), terms: numbers(terms), parts: parts.to_vec() };
        if block.is_whole(names) { Ok(block) } else { Err(broken("a block does not hold together")) }
    }
}

fn numbers(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|&number| u32::from_le_bytes(number)).collect()
}

/// Keeps the snapshot in step with the catalogue and the model in force, as long as the service lives.
pub(super) async fn follow(service: Weak<Service>, path: PathBuf, interval: Duration) {
    // What this service began with needs not be written again.
    let mut kept = match service.upgrade() {
        Some(service) => service.catalogue.began_with().await,
        None => return,
    };
    let (mut not_before, mut complained) = (Instant::now(), false);
    loop {
        tokio::time::sleep(interval).await;
        let Some(service) = service.upgrade() else { return };
        // What came from the disk and was not seen in the store yet is on the disk already.
        if !service.catalogue.is_loaded() || service.catalogue.is_from_disk() || Instant::now() < not_before {
            continue;
        }
        let model = service.models.current().map(|live| live.model.manifest.version.clone());
        if kept.as_ref() == Some(&(service.catalogue.revision().await, model.clone())) {
            continue;
        }
        let (revision, catalogue) = service.catalogue.indexed().await;
        let (state, path, started) = ((revision, model.clone()), path.clone(), Instant::now());
        drop(service);
        let written = tokio::task::spawn_blocking(move || write(&path, revision, model, &catalogue)).await;
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
    use crate::domain::{Domain, Item, ItemId};
    use crate::engine::catalogue::Catalogue;

    fn catalogue(ids: &[&str]) -> Catalogue {
        let mut catalogue = Catalogue::default();
        for id in ids {
            catalogue.upsert(Item {
                id: ItemId::new(*id).unwrap(),
                domain: Domain::new("movie").unwrap(),
                title: format!("The {id}\n\u{2028}"),
                genres: vec!["科幻".to_owned()],
                tags: Vec::new(),
                description: Some("\"".to_owned()),
                creators: Vec::new(),
                released: Some(jiff::civil::date(1999, 12, 31)),
                attributes: [("language".to_owned(), vec!["en".to_owned()])].into(),
                available: false,
            });
        }
        catalogue
    }

    /// The ids of a snapshot, and the catalogue that they give.
    fn taken(path: &Path) -> io::Result<(Option<Head>, Vec<String>, Catalogue)> {
        let (mut ids, mut taken, mut numbers) = (Vec::new(), Catalogue::default(), None);
        let Some(snapshot) = Snapshot::open(path)? else { return Ok((None, ids, taken)) };
        let head = snapshot.head.clone();
        snapshot.read(|part| match part {
            Part::Names(names, frequencies) => {
                numbers = Some(taken.expect(9, names.split_terminator('\n').zip(frequencies)))
            }
            Part::Indexed(items) => {
                let new = taken.take_in(numbers.as_ref().unwrap(), items);
                ids.extend(new.iter().map(|&index| taken.id(index).to_string()));
            }
            Part::Read(items) => ids.extend(items.iter().map(|read| format!("read {}", read.id()))),
        })?;
        Ok((Some(head), ids, taken))
    }

    #[test]
    fn a_snapshot_is_read_as_it_was_written_and_takes_the_place_of_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/catalogue");
        assert!(taken(&path).unwrap().0.is_none());
        write(&path, 0, None, &Catalogue::default().indexed()).unwrap();
        assert_eq!(taken(&path).unwrap().1, [""; 0]);
        let ids: Vec<String> = (0..2 * BLOCK + 3).map(|n| n.to_string()).collect();
        let all = catalogue(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        write(&path, 7, Some("v1".to_owned()), &all.indexed()).unwrap();
        let (head, found, taken) = taken(&path).unwrap();
        let head = head.unwrap();
        assert_eq!((head.revision, head.model.as_deref(), head.items), (7, Some("v1"), ids.len()));
        assert_eq!(found, ids);
        for id in ids {
            let item =
                |of: &Catalogue| of.index_of(&ItemId::new(&*id).unwrap()).and_then(|index| of.get(index).cloned());
            assert!(item(&taken).is_some());
            assert_eq!(item(&taken), item(&all));
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no drafts are left");
    }

    #[test]
    fn what_another_program_read_is_read_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogue");
        write(&path, 7, None, &catalogue(&["a", "b"]).indexed()).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let own = format!(r#""reading":{READING}"#);
        let at = memchr::memmem::find(&bytes, own.as_bytes()).unwrap();
        bytes[at..at + own.len()].copy_from_slice(own.replace(&READING.to_string(), "0").as_bytes());
        let end = bytes.len() - 32;
        let sum = Sha256::digest(&bytes[..end]);
        bytes[end..].copy_from_slice(&sum);
        fs::write(&path, bytes).unwrap();
        let (head, found, _) = taken(&path).unwrap();
        assert!(!head.unwrap().is_current());
        assert_eq!(found, ["read a", "read b"]);
    }

    #[test]
    fn what_is_broken_anywhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogue");
        write(&path, 7, Some("v1".to_owned()), &catalogue(&["a", "b", "c"]).indexed()).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            fs::write(&path, &whole[..at]).unwrap();
            assert!(taken(&path).is_err(), "cut off at {at}");
            let mut other = whole.clone();
            other[at] ^= 1;
            fs::write(&path, &other).unwrap();
            assert!(taken(&path).is_err(), "another byte at {at}");
        }
        fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
        assert!(taken(&path).is_err(), "a byte too many");
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

    #[test]
    fn drafts_that_were_left_behind_are_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let old = std::time::SystemTime::now() - A_DAY - Duration::from_secs(60);
        let (left, written) = (format!(".{}.draft", Uuid::new_v4()), format!(".{}.draft", Uuid::new_v4()));
        for (name, is_old) in [(&*left, true), (&*written, false), (".own.draft", true), ("own", true)] {
            let file = File::create(folder.path().join(name)).unwrap();
            if is_old {
                file.set_modified(old).unwrap();
            }
        }
        replace(&folder.path().join("file"), |file| file.write_all(b"1")).unwrap();
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        let mut expected = [&*written, ".own.draft", "own", "file"];
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
}
