//! The directory in which the gateway keeps what must survive it: private to its user, or not used at all.
//!
//! It holds ticket keys, the admin token and upstream session ids. So the directory must be ours and closed to others
//! (0700), each secret file too (0600); what is wider is refused rather than mended, since it may have been read already.

use lockgate_filters::random;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// No secret file is longer than this many bytes.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Any of these mode bits lets somebody else in.
const OTHERS: u32 = 0o077;

/// A state directory that is ours, private and writable.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
    owner: u32,
}

/// Why a directory cannot keep our state.
#[derive(Debug, thiserror::Error)]
pub enum StateFault {
    /// Neither `state_dir` nor a home is known.
    #[error("no state directory: set state_dir, XDG_STATE_HOME or HOME")]
    NoPlace,
    /// Creating, reading or writing failed.
    #[error("cannot {doing} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read or write it.
    #[error("{path} is open to other users (mode {mode:04o}): {remedy}", path = path.display())]
    TooOpen {
        /// The directory or file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What to do about it.
        remedy: &'static str,
    },
    /// It belongs to another user.
    #[error("{path} belongs to user {owner}, not to the user that runs the gateway", path = path.display())]
    ForeignOwner {
        /// The directory or file.
        path: PathBuf,
        /// Its owner's user id.
        owner: u32,
    },
    /// It is there, but no directory or no file of the expected form.
    #[error("{path} {what}", path = path.display())]
    Unfit {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// No name or secret could be drawn.
    #[error(transparent)]
    NoRandomness(#[from] random::NoRandomness),
}

impl StateFault {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateFault {
        let path = path.to_owned();
        move |source| StateFault::Io { doing, path, source }
    }
}

/// Where state lives when the configuration names no directory: `$XDG_STATE_HOME/lockgate`, else
/// `$HOME/.local/state/lockgate`. Relative values are ignored, as the XDG base directory specification demands.
pub fn default_path() -> Option<PathBuf> {
    default_path_from(std::env::var_os("XDG_STATE_HOME").as_deref(), std::env::var_os("HOME").as_deref())
}

fn default_path_from(state_home: Option<&OsStr>, home: Option<&OsStr>) -> Option<PathBuf> {
    let absolute = |value: Option<&OsStr>| value.map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute(state_home).or_else(|| absolute(home).map(|home| home.join(".local/state")))?;
    Some(state.join("lockgate"))
}

impl StateDir {
    /// Opens the directory, creating it (and parents) with mode 0700, and proves that it is private and writable.
    ///
    /// # Errors
    /// [`StateFault`], naming the path and the remedy.
    pub fn open(path: &Path) -> Result<StateDir, StateFault> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(StateFault::io("create", path))?;
        let metadata = fs::metadata(path).map_err(StateFault::io("read", path))?;
        let mode = metadata.mode() & 0o7777;
        if mode & OTHERS != 0 {
            let remedy = "run chmod 700 on it, or name a directory below it that the gateway may create";
            return Err(StateFault::TooOpen { path: path.to_owned(), mode, remedy });
        }
        let owner = our_user(path)?;
        if metadata.uid() != owner {
            return Err(StateFault::ForeignOwner { path: path.to_owned(), owner: metadata.uid() });
        }
        Ok(StateDir { path: path.to_owned(), owner })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text of a secret file; when there is none, what `make` gives, stored first.
    ///
    /// Creation is atomic: of several processes that race, one wins and all read the winner's text.
    pub(super) fn secret(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<String, random::NoRandomness>,
    ) -> Result<String, StateFault> {
        if let Some(text) = self.known_secret(name)? {
            return Ok(text);
        }
        let path = self.path.join(name);
        self.create_once(&path, &make()?)?;
        read_secret(&path, Some(self.owner))?
            .ok_or(StateFault::Unfit { path, what: "vanished right after it was written" })
    }

    /// The text of a secret file; `None` when there is none.
    pub(super) fn known_secret(&self, name: &str) -> Result<Option<String>, StateFault> {
        read_secret(&self.path.join(name), Some(self.owner))
    }

    /// Links a complete file to its final name: it appears whole or not at all, and never replaces another.
    fn create_once(&self, path: &Path, text: &str) -> Result<(), StateFault> {
        let draft = self.path.join(unguessable_name("draft")?);
        let linked = private_file(&draft)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::hard_link(&draft, path));
        // The draft is unreachable by its name; if removing fails, an unused secret lies in a private directory.
        let _ = fs::remove_file(&draft);
        match linked {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(StateFault::io("write", path)(error)),
            _ => self.sync().map_err(StateFault::io("write", &self.path)),
        }
    }

    /// Refuses an open file of this directory that others may read or write, or that is not ours.
    pub(super) fn check_private(&self, path: &Path, file: &File) -> Result<(), StateFault> {
        check_private(path, file, Some(self.owner)).map(drop)
    }

    /// Makes created and renamed names durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// Reads a private file; `None` when there is none. Without an `owner` anybody's will do, if it is private.
///
/// # Errors
/// [`StateFault`] when others may read or write it, when it is too long or no UTF-8.
pub(super) fn read_secret(path: &Path, owner: Option<u32>) -> Result<Option<String>, StateFault> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(StateFault::io("read", path))?,
    };
    let metadata = check_private(path, &file, owner)?;
    if metadata.len() > SECRET_FILE_BYTES_MAX {
        return Err(StateFault::Unfit { path: path.to_owned(), what: "is too long for a file of secrets" });
    }
    let mut text = String::new();
    file.take(SECRET_FILE_BYTES_MAX).read_to_string(&mut text).map_err(StateFault::io("read", path))?;
    Ok(Some(text))
}

fn check_private(path: &Path, file: &File, owner: Option<u32>) -> Result<Metadata, StateFault> {
    let metadata = file.metadata().map_err(StateFault::io("read", path))?;
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 {
        let remedy = "others may have read it: delete it to have a new one made, or run chmod 600 on it";
        return Err(StateFault::TooOpen { path: path.to_owned(), mode, remedy });
    }
    if owner.is_some_and(|owner| owner != metadata.uid()) {
        return Err(StateFault::ForeignOwner { path: path.to_owned(), owner: metadata.uid() });
    }
    Ok(metadata)
}

/// A new file that only we may read and write.
fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Our user id as the file system sees it, learnt from a file made for the purpose: this also proves that we may write.
fn our_user(dir: &Path) -> Result<u32, StateFault> {
    let probe = dir.join(unguessable_name("probe")?);
    let made = private_file(&probe).and_then(|file| file.metadata());
    let owner = made.map(|metadata| metadata.uid()).map_err(StateFault::io("write to", dir))?;
    fs::remove_file(&probe).map_err(StateFault::io("write to", dir))?;
    Ok(owner)
}

fn unguessable_name(prefix: &str) -> Result<String, random::NoRandomness> {
    Ok(format!(".{prefix}-{:016x}", u64::from_le_bytes(random::array()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Barrier;

    fn made(text: &str) -> impl FnOnce() -> Result<String, random::NoRandomness> {
        let text = text.to_owned();
        move || Ok(text)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn the_default_place_follows_xdg() {
        let path =
            |state: Option<&str>, home: Option<&str>| default_path_from(state.map(OsStr::new), home.map(OsStr::new));
        assert_eq!(path(Some("/s"), Some("/h")), Some("/s/lockgate".into()));
        assert_eq!(path(None, Some("/h")), Some("/h/.local/state/lockgate".into()));
        assert_eq!(path(Some("relative"), Some("/h")), Some("/h/.local/state/lockgate".into()));
        assert_eq!(path(Some(""), None), None);
    }

    #[test]
    fn what_it_makes_is_private() {
        let base = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&base.path().join("a/b")).unwrap();
        assert_eq!(dir.secret("x", made("text")).unwrap(), "text");
        assert_eq!(mode(dir.path()), 0o700);
        assert_eq!(mode(&dir.path().join("x")), 0o600);
        assert_eq!(dir.secret("x", made("other")).unwrap(), "text");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "neither probe nor draft stays");
    }

    #[test]
    fn what_is_open_to_others_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&base.path().join("s")).unwrap();
        dir.secret("x", made("text")).unwrap();
        for wide in [0o640, 0o604, 0o602] {
            fs::set_permissions(dir.path().join("x"), Permissions::from_mode(wide)).unwrap();
            assert!(matches!(dir.secret("x", made("new")), Err(StateFault::TooOpen { mode, .. }) if mode == wide));
        }
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let fault = StateDir::open(dir.path()).unwrap_err();
        assert!(fault.to_string().contains("mode 0755"), "{fault}");
    }

    #[test]
    fn what_is_no_directory_or_no_text_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(StateDir::open(&file), Err(StateFault::Io { .. })));
        let dir = StateDir::open(&base.path().join("s")).unwrap();
        for bytes in [vec![0xff; 8], vec![b'a'; 65 * 1024]] {
            let path = dir.path().join("x");
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            assert!(dir.secret("x", made("new")).is_err());
        }
    }

    #[test]
    fn racing_creators_agree() {
        let base = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let name = format!("secret-{round}");
            let start = Barrier::new(8);
            let texts: Vec<String> = std::thread::scope(|scope| {
                let race = |racer: usize| {
                    let (base, start, name) = (base.path(), &start, &name);
                    scope.spawn(move || {
                        start.wait();
                        let dir = StateDir::open(&base.join("s")).unwrap();
                        dir.secret(name, made(&format!("racer {racer}"))).unwrap()
                    })
                };
                let racers: Vec<_> = (0..8).map(race).collect();
                racers.into_iter().map(|racer| racer.join().unwrap()).collect()
            });
            assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
        }
    }
}
