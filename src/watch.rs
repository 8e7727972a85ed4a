//! Noticing that files changed: editors that rename, Kubernetes ConfigMaps that swap a symbolic link, plain writes.
//!
//! The folders are watched, not the files: a renamed file is a new one that nobody watches. What else happens in them is
//! passed over by its name. Every event only prompts a look; what counts is whether a file's fingerprint is another than
//! before it was last read. Where events cannot be had (network file systems, too many watches) a slow poll finds the
//! change all the same.

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// How often files are looked at when nothing was heard of them.
const POLL: Duration = Duration::from_secs(5);
/// How long files must be quiet before a change counts: editors and `kubectl` write several.
const QUIET: Duration = Duration::from_millis(100);
/// How long quiet is waited for: somebody may write without end.
const QUIET_MOST: Duration = Duration::from_secs(1);
/// Files above this size are known by their metadata only.
const HASHED_BYTES: u64 = 8 << 20;
/// The most symbolic links on the way to a file, as in Linux.
const LINKS_MAX: usize = 40;

/// What a file looked like: where it really is, when it changed, and a hash of its content; `None` where there is none.
type Fingerprint = Option<(PathBuf, u64, Option<SystemTime>, u64)>;

/// What a file looked like, and how one gets to it.
#[derive(Clone, Debug)]
struct Seen {
    fingerprint: Fingerprint,
    /// The symbolic links on the way, and the file that they lead to. A change of any changes the file.
    way: Vec<PathBuf>,
}

/// What files looked like before they were read. A change that comes while they are read is noticed by it.
#[derive(Debug, Default)]
pub struct Looks(Mutex<HashMap<PathBuf, Seen>>);

impl Looks {
    /// Looks at a file that is about to be read. Blocks while it does; the first look counts.
    pub fn look(&self, file: &Path) {
        let known = self.0.lock().contains_key(file);
        if !known {
            let seen = Seen::now(file);
            self.0.lock().entry(file.to_owned()).or_insert(seen);
        }
    }
}

/// A set of files under watch.
pub struct FileWatch {
    seen: HashMap<PathBuf, Seen>,
    folders: BTreeSet<PathBuf>,
    /// The names under which something happens that concerns the files.
    names: Arc<Mutex<HashSet<OsString>>>,
    heard: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
}

impl FileWatch {
    /// Watches these files, which were read after `looks`.
    pub fn new(files: impl IntoIterator<Item = PathBuf>, looks: Looks) -> FileWatch {
        let (heard, names) = (Arc::new(Notify::new()), Arc::new(Mutex::new(HashSet::new())));
        let (waker, known) = (Arc::clone(&heard), Arc::clone(&names));
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| concerns(&event, &known.lock())) {
                waker.notify_one();
            }
        });
        let watcher =
            watcher.inspect_err(|error| tracing::warn!(%error, "file events cannot be had: polling instead")).ok();
        let mut watch = FileWatch { seen: HashMap::new(), folders: BTreeSet::new(), names, heard, watcher };
        watch.set(files, looks);
        watch
    }

    /// Watches these files instead. What they looked like before they were last read is in `looks`; what is not there
    /// was not read, and is compared with what was seen of it before.
    pub fn set(&mut self, files: impl IntoIterator<Item = PathBuf>, looks: Looks) {
        let mut looks = looks.0.into_inner();
        let mut seen = HashMap::new();
        for file in files {
            let known = looks.remove(&file).or_else(|| self.seen.remove(&file)).unwrap_or_else(|| Seen::now(&file));
            seen.insert(file, known);
        }
        self.seen = seen;
        self.watch_folders();
    }

    /// Waits until a file is another than it was.
    pub async fn changed(&mut self) {
        let mut poll = Instant::now() + POLL;
        loop {
            let prompted = tokio::select! {
                () = self.heard.notified() => true,
                () = sleep_until(poll) => false,
            };
            if prompted {
                let quiet = async { while timeout(QUIET, self.heard.notified()).await.is_ok() {} };
                // Whether it became quiet or not: it is looked now.
                let _ = timeout(QUIET_MOST, quiet).await;
            }
            poll = Instant::now() + POLL;
            if self.look().await {
                return;
            }
        }
    }

    /// Takes every fingerprint anew; true when one differs.
    async fn look(&mut self) -> bool {
        let files: Vec<PathBuf> = self.seen.keys().cloned().collect();
        let taken = tokio::task::spawn_blocking(move || {
            files.into_iter().map(|file| (Seen::now(&file), file)).collect::<Vec<_>>()
        });
        let Ok(taken) = taken.await else { return false };
        let mut differs = false;
        for (now, file) in taken {
            differs |= self.seen.get(&file).is_none_or(|seen| seen.fingerprint != now.fingerprint);
            self.seen.insert(file, now);
        }
        if differs {
            self.watch_folders();
        }
        differs
    }

    /// Watches the folder of each file, of each symbolic link on the way to it, and of what they lead to.
    fn watch_folders(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let concerned = || self.seen.iter().flat_map(|(file, seen)| seen.way.iter().chain([file]));
        let folders: BTreeSet<PathBuf> = concerned().filter_map(|path| path.parent().map(Path::to_owned)).collect();
        let names = concerned().chain(&folders).filter_map(|path| path.file_name().map(ToOwned::to_owned));
        *self.names.lock() = names.collect();
        for gone in self.folders.difference(&folders) {
            // A folder that was deleted is no longer watched anyway.
            let _ = watcher.unwatch(gone);
        }
        for folder in &folders {
            // One that is watched already may be a new one of the same name.
            let watched = watcher.watch(folder, RecursiveMode::NonRecursive);
            if let (Err(error), false) = (watched, self.folders.contains(folder)) {
                tracing::warn!(folder = %folder.display(), %error, "a folder cannot be watched: polling instead");
            }
        }
        self.folders = folders;
    }
}

/// Whether an event is about one of these names; also where it does not say what it is about.
fn concerns(event: &notify::Event, names: &HashSet<OsString>) -> bool {
    let named = |path: &PathBuf| path.file_name().is_none_or(|name| names.contains(name));
    !event.kind.is_access() && (event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(named))
}

impl Seen {
    fn now(file: &Path) -> Seen {
        Seen { fingerprint: fingerprint(file), way: way(file) }
    }
}

fn fingerprint(file: &Path) -> Fingerprint {
    let real = fs::canonicalize(file).ok()?;
    let metadata = fs::metadata(&real).ok()?;
    let mut hasher = DefaultHasher::new();
    if metadata.len() <= HASHED_BYTES {
        fs::read(&real).ok()?.hash(&mut hasher);
        return Some((real, metadata.len(), None, hasher.finish()));
    }
    Some((real, metadata.len(), metadata.modified().ok(), 0))
}

/// The symbolic links on the way to a file, and the path that they lead to.
fn way(file: &Path) -> Vec<PathBuf> {
    let mut way = Vec::new();
    let mut path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    while way.len() < LINKS_MAX
        && let Some((link, target)) = first_link(&path)
    {
        let rest = path.strip_prefix(&link).unwrap_or(Path::new(""));
        path = link.parent().unwrap_or(Path::new("/")).join(target).join(rest);
        way.push(link);
    }
    way.push(path);
    way
}

/// The first part of a path that is a symbolic link, and what it stands for.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut begun = PathBuf::new();
    path.components().find_map(|part| {
        begun.push(part);
        fs::read_link(&begun).ok().map(|target| (begun.clone(), target))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Far more than a change takes to be noticed, so that only a change that is missed reaches it.
    const LONG: Duration = Duration::from_secs(30);

    async fn notices(watch: &mut FileWatch) {
        timeout(LONG, watch.changed()).await.expect("the change was not noticed");
    }

    #[tokio::test]
    async fn writes_renames_and_deletions_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lockgate.yaml");
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::new([file.clone()], Looks::default());
        fs::write(&file, "b").unwrap();
        notices(&mut watch).await;
        let draft = folder.path().join(".lockgate.yaml.swp");
        fs::write(&draft, "c").unwrap();
        fs::rename(&draft, &file).unwrap();
        notices(&mut watch).await;
        fs::remove_file(&file).unwrap();
        notices(&mut watch).await;
        fs::write(&file, "d").unwrap();
        notices(&mut watch).await;
    }

    #[tokio::test]
    async fn a_config_map_that_swaps_its_link_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("lockgate.yaml"), text).unwrap();
        }
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/lockgate.yaml", root.join("lockgate.yaml")).unwrap();
        let mut watch = FileWatch::new([root.join("lockgate.yaml")], Looks::default());
        symlink("..2", root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        notices(&mut watch).await;
    }

    #[tokio::test]
    async fn a_link_in_the_middle_of_the_way_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for (release, text) in [("1", "one"), ("2", "two")] {
            fs::create_dir_all(root.join("releases").join(release)).unwrap();
            fs::write(root.join("releases").join(release).join("lockgate.yaml"), text).unwrap();
        }
        symlink("releases/1", root.join("current")).unwrap();
        let file = root.join("current/lockgate.yaml");
        assert_eq!(way(&file), [root.join("current"), root.join("releases/1/lockgate.yaml")]);
        let watch = FileWatch::new([file], Looks::default());
        assert!(watch.folders.contains(&root) && watch.folders.contains(&root.join("releases/1")));
        assert!(watch.names.lock().contains(&OsString::from("current")));
    }

    #[tokio::test]
    async fn a_change_in_a_busy_folder_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lockgate.yaml");
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::new([file.clone()], Looks::default());
        let log = folder.path().join("access.log");
        let busy = tokio::spawn(async move {
            for line in 0.. {
                fs::write(&log, format!("{line}")).unwrap();
                tokio::time::sleep(QUIET / 10).await;
            }
        });
        let prompted = timeout(QUIET * 5, watch.heard.notified()).await;
        assert!(prompted.is_err(), "a file that nobody watches is not looked at");
        fs::write(&file, "b").unwrap();
        notices(&mut watch).await;
        busy.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_never_rests_is_looked_at_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lockgate.yaml");
        let mut watch = FileWatch::new([file.clone()], Looks::default());
        fs::write(&file, "a").unwrap();
        let heard = watch.heard.clone();
        let restless = tokio::spawn(async move {
            loop {
                heard.notify_one();
                tokio::time::sleep(QUIET / 10).await;
            }
        });
        notices(&mut watch).await;
        restless.abort();
    }

    #[tokio::test]
    async fn a_change_while_a_file_is_read_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("lockgate.yaml"), folder.path().join("secret"));
        fs::write(&file, "a").unwrap();
        let looks = Looks::default();
        looks.look(&file);
        looks.look(&other);
        fs::write(&file, "b").unwrap();
        let mut watch = FileWatch::new([file.clone(), other.clone()], looks);
        assert!(watch.look().await, "it is another than before it was read");
        assert!(!watch.look().await);
        fs::write(&other, "now it is there").unwrap();
        assert!(watch.look().await);

        let looks = Looks::default();
        fs::write(&file, "c").unwrap();
        looks.look(&file);
        watch.set([file.clone()], looks);
        assert!(!watch.look().await, "who has read it knows of the change");
        fs::write(&file, "d").unwrap();
        watch.set([file], Looks::default());
        assert!(watch.look().await, "who has not read it does not");
    }

    #[tokio::test]
    async fn the_same_content_written_again_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lockgate.yaml");
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::new([file.clone()], Looks::default());
        fs::write(&file, "a").unwrap();
        assert!(!watch.look().await);
    }
}
