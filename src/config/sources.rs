//! What a configuration may draw on beyond its own text: the environment, files, the machine.

use std::fs::File;
use std::io::{self, Read as _};
use std::num::NonZeroUsize;
use std::path::Path;

/// The outside world as the loader sees it. Tests and fuzzing put their own in its place.
pub trait Sources {
    /// The value of an environment variable; `None` when it is not set.
    ///
    /// # Errors
    /// When its value is not UTF-8.
    fn env(&self, name: &str) -> Result<Option<String>, NotUtf8>;

    /// The content of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// When it does not exist, cannot be read, is no regular file, or is larger.
    fn file(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;

    /// The number of CPUs that this process may use.
    fn cpus(&self) -> NonZeroUsize;
}

/// The value of an environment variable is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUtf8;

/// The environment and files of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemSources;

impl Sources for SystemSources {
    fn env(&self, name: &str) -> Result<Option<String>, NotUtf8> {
        match std::env::var_os(name) {
            None => Ok(None),
            Some(value) => value.into_string().map(Some).map_err(|_| NotUtf8),
        }
    }

    fn file(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        // Opening a pipe would wait for a writer, so the kind of the file is asked first, and again once it is open.
        regular(&std::fs::metadata(path)?)?;
        let file = File::open(path)?;
        regular(&file.metadata()?)?;
        let mut content = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
        if u64::try_from(content.len()).is_ok_and(|length| length > limit) {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes")));
        }
        Ok(content)
    }

    fn cpus(&self) -> NonZeroUsize {
        std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
    }
}

fn regular(metadata: &std::fs::Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        Err(io::Error::from(io::ErrorKind::IsADirectory))
    } else if metadata.is_file() {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// No environment, no files, one CPU: for text that nobody vouches for.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSources;

impl Sources for NoSources {
    fn env(&self, _: &str) -> Result<Option<String>, NotUtf8> {
        Ok(None)
    }

    fn file(&self, _: &Path, _: u64) -> io::Result<Vec<u8>> {
        Err(io::Error::from(io::ErrorKind::NotFound))
    }

    fn cpus(&self) -> NonZeroUsize {
        NonZeroUsize::MIN
    }
}

/// Why a file cannot be read, in words that fit behind "cannot read this file: ".
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
pub(super) mod fake {
    use super::*;
    use std::collections::HashMap;
    use std::path::PathBuf;

    /// An environment and files that a test makes up.
    #[derive(Clone, Debug, Default)]
    pub struct FakeSources {
        pub env: HashMap<String, String>,
        pub files: HashMap<PathBuf, Vec<u8>>,
    }

    impl FakeSources {
        pub fn with_env(mut self, name: &str, value: &str) -> FakeSources {
            self.env.insert(name.to_owned(), value.to_owned());
            self
        }

        pub fn with_file(mut self, path: &str, content: &str) -> FakeSources {
            self.files.insert(path.into(), content.as_bytes().to_vec());
            self
        }
    }

    impl Sources for FakeSources {
        fn env(&self, name: &str) -> Result<Option<String>, NotUtf8> {
            Ok(self.env.get(name).cloned())
        }

        fn file(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
            let content = self.files.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
            if content.len() as u64 > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(content) }
        }

        fn cpus(&self) -> NonZeroUsize {
            NonZeroUsize::MIN.saturating_add(3)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(SystemSources.file(&path, 5).unwrap(), b"12345");
        assert_eq!(SystemSources.file(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(SystemSources.file(folder.path(), 4).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(reason(&SystemSources.file(&folder.path().join("x"), 4).unwrap_err()), "it does not exist");
    }

    #[test]
    fn devices_and_pipes_are_not_opened() {
        assert!(SystemSources.file(Path::new("/dev/zero"), 10).is_err());
    }
}
