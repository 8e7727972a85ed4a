//! Pieces of a stream join to the stream; frames do not depend on how it is cut; what is written is read again.
//!
//! The input's first byte says how the rest is cut into chunks.

use bytes::Bytes;
use lockgate_filters::sse::{EventReader, Frame, Framer, TooLong, write_event};

const LIMIT: usize = 256;

type Known = (bool, bool, usize, Vec<u8>);

/// Checks a stream.
pub fn check(data: &[u8]) {
    let Some((&step, stream)) = data.split_first() else { return };
    let step = step as usize + 1;
    let stream = Bytes::copy_from_slice(stream);
    let whole = watched(&stream, usize::MAX);
    assert_eq!(whole, watched(&stream, step), "where frames end depends on chunks");
    let kept = frames(&stream, usize::MAX);
    assert_eq!(fields(&kept), fields(&frames(&stream, step)), "what frames say depends on chunks");
    if let (Ok(whole), Ok(kept)) = (whole, kept) {
        let known: Vec<_> = whole.iter().map(|(data, id, _, _)| (*data, *id)).collect();
        let read: Vec<_> = kept.iter().map(|frame| (frame.has_data, frame.id.is_some())).collect();
        assert_eq!(known, read, "watching and keeping differ");
    }
    written(&stream);
}

/// What is known at the end of each frame; the pieces must join to the stream.
fn watched(stream: &Bytes, step: usize) -> Result<Vec<Known>, TooLong> {
    let mut framer = Framer::watching(LIMIT);
    let mut known = Vec::new();
    let mut joined = Vec::new();
    for chunk in stream.chunks(step) {
        let mut chunk = stream.slice_ref(chunk);
        while let Some(piece) = framer.split(&mut chunk)? {
            assert!(!piece.bytes.is_empty(), "a piece of nothing");
            joined.extend_from_slice(&piece.bytes);
            assert!(framer.open_length() <= LIMIT);
            if let Some(end) = piece.end {
                assert!(framer.at_boundary() && end.length <= LIMIT);
                known.push((end.has_data, end.has_id, end.length, framer.last_id().to_vec()));
            }
        }
    }
    assert_eq!(joined, stream[..], "the pieces are not the stream");
    Ok(known)
}

fn frames(stream: &Bytes, step: usize) -> Result<Vec<Frame>, TooLong> {
    let mut framer = Framer::keeping(LIMIT);
    let mut frames = Vec::new();
    for chunk in stream.chunks(step) {
        framer.feed(&stream.slice_ref(chunk))?;
        frames.extend(std::iter::from_fn(|| framer.next_frame()));
    }
    let joined: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes.iter().copied()).collect();
    assert!(stream.starts_with(&joined), "the frames are not the stream");
    Ok(frames)
}

/// Frames without their bytes, where a late LF leads the next frame.
fn fields(frames: &Result<Vec<Frame>, TooLong>) -> Result<Vec<Frame>, TooLong> {
    frames.clone().map(|frames| frames.into_iter().map(|frame| Frame { bytes: Bytes::new(), ..frame }).collect())
}

fn written(data: &Bytes) {
    let event = write_event(Some(data), data);
    let mut reader = EventReader::new(event.len());
    assert_eq!(reader.feed(&event), Ok(()));
    let read = reader.next_event().expect("an event was written");
    assert!(reader.next_event().is_none(), "one event was written");
    let mut expected = Vec::new();
    let mut bytes = data.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == b'\r' {
            bytes.next_if_eq(&b'\n');
        }
        expected.push(if byte == b'\r' { b'\n' } else { byte });
    }
    assert_eq!(read.data, expected);
    let holds = !data.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'));
    assert_eq!(read.id.as_ref(), holds.then_some(data));
}
