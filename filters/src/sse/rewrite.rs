//! A frame with another id or other data: what else it says stays as it was written.

use super::mark::BYTE_ORDER_MARK;
use super::{Frame, write_event};
use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr2};

impl Frame {
    /// The frame with this id in the place of its own (none where `None`), and this data where there is any.
    ///
    /// `event`, `retry`, comments and unknown fields keep their bytes and stand before id and data.
    pub fn rewritten(&self, id: Option<&[u8]>, data: Option<&[u8]>) -> Bytes {
        let data = data.or(self.has_data.then_some(&self.data[..]));
        let mut frame = BytesMut::with_capacity(self.bytes.len() + 128);
        let mut rest = self.bytes.strip_prefix(&BYTE_ORDER_MARK[..]).unwrap_or(&self.bytes);
        while let Some(end) = memchr2(b'\n', b'\r', rest) {
            let line = &rest[..end];
            let name = &line[..memchr(b':', line).unwrap_or(line.len())];
            if !line.is_empty() && name != b"id" && name != b"data" {
                frame.extend_from_slice(line);
                frame.extend_from_slice(b"\n");
            }
            rest = &rest[end + 1..];
        }
        match (id, data) {
            (_, Some(data)) => frame.extend_from_slice(&write_event(id, data)),
            (Some(id), None) => {
                frame.extend_from_slice(b"id: ");
                frame.extend_from_slice(id);
                frame.extend_from_slice(b"\n\n");
            }
            (None, None) => frame.extend_from_slice(b"\n"),
        }
        frame.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::Framer;

    fn frame(text: &str) -> Frame {
        let mut framer = Framer::keeping(1024);
        framer.feed(&Bytes::copy_from_slice(text.as_bytes())).unwrap();
        framer.next_frame().unwrap()
    }

    #[test]
    fn id_and_data_change_and_the_rest_stays() {
        let original = frame(": hello\r\nevent: message\r\nid: 7\r\nretry: 5\r\ndata: a\r\ndata: b\r\n\r\n");
        assert_eq!(original.rewritten(Some(b"x"), Some(b"c")), ": hello\nevent: message\nretry: 5\nid: x\ndata: c\n\n");
        assert_eq!(original.rewritten(None, None), ": hello\nevent: message\nretry: 5\ndata: a\ndata: b\n\n");
        let again = frame(std::str::from_utf8(&original.rewritten(Some(b"x"), None)).unwrap());
        assert_eq!((again.data, again.retry, again.id), (original.data, Some(5), Some(Bytes::from("x"))));
    }

    #[test]
    fn frames_without_data_stay_without() {
        assert_eq!(frame("retry: 5\n\n").rewritten(None, None), "retry: 5\n\n");
        assert_eq!(frame("id: 5\n\n").rewritten(Some(b"y"), None), "id: y\n\n");
        assert_eq!(frame("\u{feff}id: 5\ndata\n\n").rewritten(Some(b"y"), None), "id: y\ndata: \n\n");
    }
}
