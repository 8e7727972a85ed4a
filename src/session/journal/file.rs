//! The journal's file, as its writer needs it: append, replace as a whole, make durable.

use super::JournalFault;
use super::replay::HEADER;
use crate::session::state_dir::{StateDir, StateFault};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Writes part of a replacement.
pub(super) type WritePart<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// Where a journal is written. Tests put failing disks here.
pub(super) trait Disk: Send + 'static {
    /// Appends; when it fails, nothing of it stays.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Replaces everything behind the header, durably: either all of it is there afterwards, or nothing has changed.
    fn replace(&mut self, produce: &mut dyn FnMut(&mut WritePart<'_>) -> io::Result<()>) -> io::Result<()>;

    /// Makes everything durable against a power cut.
    fn sync(&mut self) -> io::Result<()>;

    /// The length in bytes.
    fn len(&self) -> u64;
}

/// A journal in the state directory: mode 0600, for it holds upstream session ids.
pub(super) struct JournalFile {
    dir: StateDir,
    file: File,
    len: u64,
    /// Held for as long as this process may write.
    _lock: File,
}

const LOCK_NAME: &str = "sessions.lock";
const NAME: &str = "sessions.journal";
const DRAFT_NAME: &str = "sessions.journal.new";

impl JournalFile {
    /// Opens or creates the file for reading; [`JournalFile::settle`] makes it ready for appending.
    pub fn open(dir: &StateDir) -> Result<JournalFile, JournalFault> {
        let lock = lock(dir)?;
        let path = dir.path().join(NAME);
        let opened = private().read(true).append(true).create(true).open(&path);
        let file = opened.map_err(StateFault::io("open", &path))?;
        dir.check_private(&path, &file)?;
        Ok(JournalFile { dir: dir.clone(), file, len: 0, _lock: lock })
    }

    /// Where a journal of this state directory is.
    pub fn path(dir: &StateDir) -> PathBuf {
        dir.path().join(NAME)
    }

    pub fn reader(&self) -> &File {
        &self.file
    }

    /// Cuts what is behind the intact beginning; writes the header of an empty journal.
    pub fn settle(&mut self, intact: u64) -> io::Result<()> {
        self.file.set_len(intact)?;
        self.len = intact;
        if intact == 0 {
            self.append(HEADER)?;
        }
        Ok(())
    }

    fn write_draft(&self, produce: &mut dyn FnMut(&mut WritePart<'_>) -> io::Result<()>) -> io::Result<(File, u64)> {
        let draft = self.dir.path().join(DRAFT_NAME);
        // A draft left behind by a process that died is removed first, so that its mode is not inherited.
        let _ = fs::remove_file(&draft);
        let mut file = private().append(true).create_new(true).open(&draft)?;
        file.write_all(HEADER)?;
        let mut len = HEADER.len() as u64;
        produce(&mut |bytes| {
            len += bytes.len() as u64;
            file.write_all(bytes)
        })?;
        file.sync_all()?;
        fs::rename(&draft, JournalFile::path(&self.dir))?;
        Ok((file, len))
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Takes the lock that keeps two processes from writing one journal. The system gives it back when this process dies.
fn lock(dir: &StateDir) -> Result<File, JournalFault> {
    let path = dir.path().join(LOCK_NAME);
    let opened = private().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(StateFault::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let read = file.take(16).read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
            let pid = if read { pid.trim().to_owned() } else { "unknown".to_owned() };
            return Err(JournalFault::InUse { path, pid });
        }
        Err(TryLockError::Error(error)) => return Err(StateFault::io("lock", &path)(error).into()),
    }
    // Only for the message that a second process shows.
    let _ = file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    Ok(file)
}

impl Disk for JournalFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes);
        if written.is_ok() {
            self.len += bytes.len() as u64;
        } else {
            // If even this fails, a torn record stays at the end, which a reader cuts.
            let _ = self.file.set_len(self.len);
        }
        written
    }

    fn replace(&mut self, produce: &mut dyn FnMut(&mut WritePart<'_>) -> io::Result<()>) -> io::Result<()> {
        let (file, len) = self.write_draft(produce).inspect_err(|_| {
            // Best effort: the next attempt removes it too.
            let _ = fs::remove_file(self.dir.path().join(DRAFT_NAME));
        })?;
        self.file = file;
        self.len = len;
        self.dir.sync()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> u64 {
        self.len
    }
}
