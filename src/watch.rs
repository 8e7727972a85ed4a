//! Noticing that files changed: editors that rename, Kubernetes ConfigMaps that swap a symbolic link, plain writes.
//!
//! The folders are watched, not the files: a renamed file is a new one that nobody watches. Every event only prompts a
//! look; what counts is whether a file's fingerprint is another than before. Where events cannot be had (network file
//! systems, too many watches) a slow poll finds the change all the same.

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::{BTreeSet, HashMap};
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
/// Files above this size are known by their metadata only.
const HASHED_BYTES: u64 = 8 << 20;

/// What a file looked like: where it really is, when it changed, and a hash of its content.
type Fingerprint = Option<(PathBuf, u64, Option<SystemTime>, u64)>;

/// A set of files under watch.
pub struct FileWatch {
    seen: HashMap<PathBuf, Fingerprint>,
    folders: BTreeSet<PathBuf>,
    heard: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
}

impl FileWatch {
    /// Watches these files as they are now.
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> FileWatch {
        let heard = Arc::new(Notify::new());
        let waker = Arc::clone(&heard);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                waker.notify_one();
            }
        });
        let watcher =
            watcher.inspect_err(|error| tracing::warn!(%error, "file events cannot be had: polling instead")).ok();
        let mut watch = FileWatch { seen: HashMap::new(), folders: BTreeSet::new(), heard, watcher };
        watch.set(files);
        watch
    }

    /// Watches these files instead. Files that were watched before keep their last fingerprint, so that a change in
    /// between is not lost.
    pub fn set(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        let mut seen = HashMap::new();
        for file in files {
            let known = self.seen.remove(&file).unwrap_or_else(|| fingerprint(&file));
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
                while timeout(QUIET, self.heard.notified()).await.is_ok() {}
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
            files.into_iter().map(|file| (fingerprint(&file), file)).collect::<Vec<_>>()
        });
        let Ok(taken) = taken.await else { return false };
        let mut differs = false;
        for (now, file) in taken {
            if self.seen.get(&file) != Some(&now) {
                self.seen.insert(file, now);
                differs = true;
            }
        }
        if differs {
            self.watch_folders();
        }
        differs
    }

    /// Watches the folder of each file, and of the file that a symbolic link stands for.
    fn watch_folders(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let named = self.seen.keys().filter_map(|file| file.parent().map(Path::to_owned));
        let real = self.seen.values().flatten().filter_map(|(real, ..)| real.parent().map(Path::to_owned));
        let wanted: BTreeSet<PathBuf> = named.chain(real).collect();
        for gone in self.folders.difference(&wanted) {
            // A folder that was deleted is no longer watched anyway.
            let _ = watcher.unwatch(gone);
        }
        for new in wanted.difference(&self.folders) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(folder = %new.display(), %error, "a folder cannot be watched: polling instead");
            }
        }
        self.folders = wanted;
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
        let mut watch = FileWatch::new([file.clone()]);
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
        let mut watch = FileWatch::new([root.join("lockgate.yaml")]);
        symlink("..2", root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        notices(&mut watch).await;
    }

    #[tokio::test]
    async fn the_same_content_written_again_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lockgate.yaml");
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::new([file.clone()]);
        fs::write(&file, "a").unwrap();
        assert!(!watch.look().await);
    }
}
