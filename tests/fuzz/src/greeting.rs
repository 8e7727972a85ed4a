//! What another node says first may be anything: it is understood or not, and what is understood is said again in a frame.

use lockgate::cluster::greeting::{FRAME_BYTES_MAX, Greeting, Welcome, read, write};
use std::fmt::Debug;

/// Checks what a node says, and what is said to it.
pub fn check(data: &[u8]) {
    again::<Greeting>(data);
    again::<Welcome>(data);
}

fn again<T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + Debug>(data: &[u8]) {
    let Ok(heard) = read::<T>(data) else { return };
    let Ok(frame) = write(&heard) else {
        assert!(data.len() > FRAME_BYTES_MAX / 8, "a short text became a long frame");
        return;
    };
    let (length, content) = frame.split_at(2);
    assert_eq!(length, (content.len() as u16).to_be_bytes());
    assert!(content.len() <= FRAME_BYTES_MAX);
    assert_eq!(read::<T>(content).expect("what was said"), heard);
}
