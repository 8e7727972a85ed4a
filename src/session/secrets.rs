//! The secrets of this node, as each configuration asks for them: configured, kept in the state directory, or neither.
//!
//! They are read anew for every configuration that is compiled, so that keys rotate and the admin token changes without
//! a restart. An exchange seals and opens with the keys of the configuration that it began under.

use super::keys::{self, ConfiguredKey, KeysFault};
use super::state_dir::{StateDir, StateFault};
use lockgate_filters::ticket::Keyring;
use parking_lot::Mutex;
use std::sync::Arc;

/// Where secrets are kept that no configuration names.
#[derive(Debug)]
pub enum Secrets {
    /// In a directory, made when they are first asked for.
    Kept(Kept),
    /// Nowhere, on purpose: these keys die with the process.
    Ephemeral(Arc<Keyring>),
    /// Nowhere: what is not configured does not exist.
    Nowhere,
}

/// Secrets in a state directory.
#[derive(Debug)]
pub struct Kept {
    dir: StateDir,
    /// What was read last: where the file has gone since, the keys stay, or all sessions would end with it.
    keyring: Mutex<Option<Arc<Keyring>>>,
}

impl Kept {
    fn keyring(&self) -> Result<Arc<Keyring>, KeysFault> {
        let mut last = self.keyring.lock();
        let keyring = match &*last {
            None => Arc::new(keys::stored(&self.dir)?),
            Some(last) => keys::known(&self.dir)?.map_or_else(|| Arc::clone(last), Arc::new),
        };
        *last = Some(Arc::clone(&keyring));
        Ok(keyring)
    }
}

impl Secrets {
    /// Secrets kept in a directory.
    pub fn kept(dir: StateDir) -> Secrets {
        Secrets::Kept(Kept { dir, keyring: Mutex::default() })
    }

    /// Secrets that nobody keeps.
    ///
    /// # Errors
    /// [`KeysFault`] when no keys can be drawn.
    pub fn ephemeral() -> Result<Secrets, KeysFault> {
        Ok(Secrets::Ephemeral(Arc::new(keys::ephemeral()?)))
    }

    /// The directory, where there is one.
    pub fn state_dir(&self) -> Option<&StateDir> {
        match self {
            Secrets::Kept(kept) => Some(&kept.dir),
            Secrets::Ephemeral(_) | Secrets::Nowhere => None,
        }
    }

    /// What tickets are sealed with: the configured keys, or without any the node's own. Reads a file.
    ///
    /// # Errors
    /// [`KeysFault`] when the keys are unfit, or there are none.
    pub fn keyring(&self, configured: &[ConfiguredKey<'_>]) -> Result<Arc<Keyring>, KeysFault> {
        match (self, configured) {
            (Secrets::Kept(kept), []) => kept.keyring(),
            (Secrets::Ephemeral(keyring), []) => Ok(Arc::clone(keyring)),
            (Secrets::Nowhere, []) => Err(KeysFault::Nowhere),
            (_, configured) => keys::configured(configured).map(Arc::new),
        }
    }

    /// The admin token of a node whose configuration names none; `None` where none is kept. Reads a file.
    ///
    /// # Errors
    /// [`StateFault`], among others when others may read the file.
    pub fn admin_token(&self) -> Result<Option<Arc<str>>, StateFault> {
        self.state_dir().map(|dir| keys::admin_token(dir).map(Arc::from)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_filters::ticket::Key;

    const SECRET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

    fn ids(keyring: &Keyring) -> Vec<&str> {
        keyring.keys().iter().map(Key::id).collect()
    }

    #[test]
    fn what_is_configured_goes_before_what_is_kept() {
        let base = tempfile::tempdir().unwrap();
        let kept = Secrets::kept(StateDir::open(&base.path().join("s")).unwrap());
        let configured = [ConfiguredKey { id: "k1", secret: SECRET }];
        for secrets in [&kept, &Secrets::ephemeral().unwrap(), &Secrets::Nowhere] {
            assert_eq!(ids(&secrets.keyring(&configured).unwrap()), ["k1"]);
        }
        assert_eq!(std::fs::read_dir(base.path().join("s")).unwrap().count(), 0, "nothing is made in vain");
        assert_eq!(ids(&kept.keyring(&[]).unwrap()), ["generated"]);
        assert_eq!(kept.admin_token().unwrap(), kept.admin_token().unwrap());
    }

    #[test]
    fn kept_keys_rotate_in_their_file_and_outlive_it() {
        let base = tempfile::tempdir().unwrap();
        let kept = Secrets::kept(StateDir::open(&base.path().join("s")).unwrap());
        kept.keyring(&[]).unwrap();
        let file = base.path().join("s/ticket-keys");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("newer {}\n{text}", "0123456789abcdef".repeat(4))).unwrap();
        assert_eq!(ids(&kept.keyring(&[]).unwrap()), ["newer", "generated"]);
        std::fs::write(&file, "nonsense\n").unwrap();
        assert!(kept.keyring(&[]).is_err());
        std::fs::remove_file(&file).unwrap();
        assert_eq!(ids(&kept.keyring(&[]).unwrap()), ["newer", "generated"]);
    }

    #[test]
    fn ephemeral_keys_stay_the_same_for_the_process() {
        let secrets = Secrets::ephemeral().unwrap();
        assert!(Arc::ptr_eq(&secrets.keyring(&[]).unwrap(), &secrets.keyring(&[]).unwrap()));
        assert_eq!(secrets.admin_token().unwrap(), None);
    }

    #[test]
    fn without_a_place_there_is_nothing_to_fall_back_on() {
        assert!(matches!(Secrets::Nowhere.keyring(&[]), Err(KeysFault::Nowhere)));
        assert_eq!(Secrets::Nowhere.admin_token().unwrap(), None);
    }
}
