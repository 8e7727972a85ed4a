use super::*;
use proptest::prelude::*;

const LIMIT: usize = 1 << 16;

/// The stream in chunks cut at these places.
fn chunks(stream: &[u8], cuts: &[usize]) -> Vec<Bytes> {
    let stream = Bytes::copy_from_slice(stream);
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    places.push(stream.len());
    places.sort_unstable();
    let mut from = 0;
    places.into_iter().map(|to| stream.slice(std::mem::replace(&mut from, to)..to)).collect()
}

/// Feeds a stream in chunks cut at these places and returns its frames.
fn frames(stream: &[u8], cuts: &[usize]) -> Vec<Frame> {
    let mut framer = Framer::keeping(LIMIT);
    for chunk in chunks(stream, cuts) {
        framer.feed(&chunk).unwrap();
    }
    std::iter::from_fn(|| framer.next_frame()).collect()
}

/// The pieces that a stream falls into, and the id in force behind each.
fn pieces(stream: &[u8], cuts: &[usize]) -> Vec<(Piece, Vec<u8>)> {
    let mut framer = Framer::watching(LIMIT);
    let mut pieces = Vec::new();
    for mut chunk in chunks(stream, cuts) {
        while let Some(piece) = framer.split(&mut chunk).unwrap() {
            assert!(piece.end.is_none() || framer.at_boundary());
            pieces.push((piece, framer.last_id().to_vec()));
        }
    }
    pieces
}

#[test]
fn fields_are_read_as_the_specification_says() {
    let stream = concat!(
        "\u{feff}id: 7\nevent: message\ndata: {\"a\":1}\n\n",
        ": comment\n\n",
        "retry: 10\nid\ndata\n\n",
        "data:a\r\ndata: b\rdata:  c\n\n",
        "id: a\0b\nretry: 1x\nretry:\nretry: 99999999999999999999\nretry: -1\n\n",
        "retry: 5\nretry: x\nevent\ndata:\ndata:\nDATA: no\ndatas: no\n data: no\nid:x:y\n\n",
    );
    let read = frames(stream.as_bytes(), &[]);
    let ids: Vec<_> = read.iter().map(|frame| frame.id.as_deref()).collect();
    assert_eq!(ids, [Some(&b"7"[..]), None, Some(b""), None, None, Some(b"x:y")]);
    let data: Vec<_> = read.iter().map(|frame| (frame.has_data, &frame.data[..])).collect();
    let expected =
        [(true, &b"{\"a\":1}"[..]), (false, b""), (true, b""), (true, b"a\nb\n c"), (false, b""), (true, b"\n")];
    assert_eq!(data, expected);
    let retries: Vec<_> = read.iter().map(|frame| frame.retry).collect();
    assert_eq!(retries, [None, None, Some(10), None, None, Some(5)]);
    let events: Vec<_> = read.iter().map(|frame| frame.event.as_deref()).collect();
    assert_eq!(events, [Some(&b"message"[..]), None, None, None, None, Some(b"")]);
}

#[test]
fn boundaries_are_where_something_may_be_inserted() {
    let mut framer = Framer::watching(LIMIT);
    let mut at_boundary = |bytes: &'static [u8]| {
        framer.feed(&Bytes::from_static(bytes)).unwrap();
        assert!(framer.next_frame().is_none());
        (framer.at_boundary(), framer.open_length())
    };
    assert_eq!(at_boundary(b""), (true, 0));
    assert_eq!(at_boundary(b"data: 1\n"), (false, 8));
    assert_eq!(at_boundary(b"\n"), (true, 0));
    assert_eq!(at_boundary(b"data: 2\r\n\r"), (true, 0));
    assert_eq!(at_boundary(b"\n"), (true, 0));
    assert_eq!(at_boundary(b"a\r"), (false, 2));
    assert_eq!(at_boundary(b"\n"), (false, 2));
    assert_eq!(at_boundary(b"\r"), (true, 0));
    assert_eq!(at_boundary(b"\r"), (true, 0));
    assert_eq!(at_boundary(b":"), (false, 1));
}

#[test]
fn a_byte_order_mark_is_no_line() {
    let mut framer = Framer::watching(LIMIT);
    assert!(framer.at_boundary() && !framer.has_begun());
    for (byte, boundary) in [(0xEF, false), (0xBB, false), (0xBF, true), (b'd', false)] {
        framer.feed(&Bytes::from(vec![byte])).unwrap();
        assert_eq!(framer.at_boundary(), boundary, "{byte:#x}");
        assert!(framer.has_begun());
    }
    for cuts in [vec![], vec![1], vec![2], vec![1, 2, 3, 4]] {
        let marked = frames(b"\xEF\xBB\xBFdata: 1\n\ndata: 2\n\n", &cuts);
        assert_eq!(marked.iter().map(|frame| &frame.data[..]).collect::<Vec<_>>(), [b"1", b"2"]);
        // Only at the begin, only once, only whole.
        for other in [&b"\n\xEF\xBB\xBFdata: 1\n\n"[..], b"\xEF\xBB\xBF\xEF\xBB\xBFdata: 1\n\n", b"\xEF\xBBdata: 1\n\n"]
        {
            assert!(frames(other, &cuts).iter().all(|frame| !frame.has_data), "{other:?}");
        }
    }
}

#[test]
fn what_passes_is_known_without_being_kept() {
    let stream = b"id: 1\ndata: x\n\n: ping\n\nid: 2\ndata:\n\nid:\n\nid: no\0pe\ndata: y\n\n";
    let ends: Vec<_> = pieces(stream, &[])
        .into_iter()
        .map(|(piece, id)| {
            let end = piece.end.unwrap();
            (end.has_data, end.has_id, String::from_utf8(id).unwrap())
        })
        .collect();
    let expected = [(true, true, "1"), (false, false, "1"), (true, true, "2"), (false, true, ""), (true, false, "")];
    assert_eq!(ends, expected.map(|(data, id, last)| (data, id, last.to_owned())));
    let mut framer = Framer::watching(LIMIT);
    framer.feed(&Bytes::from_static(b"id: 1\ndata: x\n")).unwrap();
    // An id counts when its frame has ended.
    assert!(!framer.has_ids());
    framer.feed(&Bytes::from_static(b"\n")).unwrap();
    assert!(framer.has_ids());
}

#[test]
fn an_endless_event_is_refused_and_held_by_nobody() {
    let mut framer = Framer::watching(100);
    framer.feed(&Bytes::from(vec![b'x'; 60])).unwrap();
    assert_eq!(framer.feed(&Bytes::from(vec![b'x'; 60])), Err(TooLong { limit: 100 }));
    let mut framer = Framer::keeping(100);
    assert!(framer.feed(&Bytes::from(format!("data: {}\n\n", "x".repeat(100)))).is_err());
    // Many lines, none of them long.
    assert!(Framer::watching(100).feed(&Bytes::from("a\n".repeat(51))).is_err());
    assert!(Framer::watching(100).feed(&Bytes::from("a\n\n".repeat(1000))).is_ok());
    let exact = format!("data: {}\r\n\r\n", "x".repeat(92));
    assert!(Framer::watching(100).feed(&Bytes::from(exact.clone())).is_ok());
    assert!(Framer::watching(99).feed(&Bytes::from(exact)).is_err());
}

#[test]
fn pieces_are_slices_of_the_chunk() {
    let chunk = Bytes::from_static(b"data: 1\n\ndata: 2\n\ndata");
    let mut rest = chunk.clone();
    let mut framer = Framer::watching(LIMIT);
    let mut at = chunk.as_ptr();
    while let Some(piece) = framer.split(&mut rest).unwrap() {
        assert_eq!(piece.bytes.as_ptr(), at);
        at = at.wrapping_add(piece.bytes.len());
    }
    assert_eq!(at, chunk.as_ptr().wrapping_add(chunk.len()));
    let mut framer = Framer::keeping(LIMIT);
    framer.feed(&chunk).unwrap();
    let frame = framer.next_frame().unwrap();
    assert_eq!(frame.bytes.as_ptr(), chunk.as_ptr());
    assert_eq!(frame.data.as_ptr(), chunk[6..].as_ptr());
}

#[test]
fn events_that_are_cut_are_not_given_out() {
    let mut reader = EventReader::new(LIMIT);
    reader.feed(&Bytes::from_static(b": hi\n\nid: 5\ndata: 1\n\ndata: 2\n")).unwrap();
    assert_eq!(reader.next_event().unwrap().data, "1");
    assert_eq!(reader.last_id(), b"5");
    assert!(reader.next_event().is_none());
}

#[test]
fn ids_that_no_field_can_hold_are_left_out() {
    for id in [&b"a\nb"[..], b"a\rb", b"a\0b"] {
        assert_eq!(write_event(Some(id), b"x"), "data: x\n\n");
    }
    assert_eq!(write_event(Some(b"7"), b"a\r\n\rb"), "id: 7\ndata: a\ndata: \ndata: b\n\n");
    assert_eq!(write_event(None, b""), "data: \n\n");
    assert_eq!(write_event(None, b"x\n"), "data: x\ndata: \n\n");
}

/// Streams in which line ends and field names are frequent.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => prop::sample::select(vec!["\n", "\r", "\r\n", "\n\n", "\r\n\r\n", "\r\r"]).prop_map(|text| text.as_bytes().to_vec()),
        4 => prop::sample::select(vec!["data", "data: ", "id", "id:", "id: 7", "event:", "retry: 9", ":", " ", "\0", "i", "\u{feff}"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn pieces_are_the_stream_and_ends_do_not_depend_on_chunks(
        stream in stream(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let whole = pieces(&stream, &[]);
        let cut = pieces(&stream, &cuts);
        for pieces in [&whole, &cut] {
            let joined: Vec<u8> = pieces.iter().flat_map(|(piece, _)| piece.bytes.to_vec()).collect();
            prop_assert_eq!(&joined, &stream);
        }
        let ends = |pieces: &[(Piece, Vec<u8>)]| -> Vec<_> {
            pieces
                .iter()
                .filter_map(|(piece, id)| piece.end.map(|end| (end.has_data, end.has_id, end.length, id.clone())))
                .collect()
        };
        prop_assert_eq!(ends(&whole), ends(&cut));
    }

    #[test]
    fn frames_do_not_depend_on_chunks(stream in stream(), cuts in prop::collection::vec(any::<usize>(), 0..12)) {
        let whole = frames(&stream, &[]);
        let cut = frames(&stream, &cuts);
        let read = |frames: &[Frame]| -> Vec<_> {
            frames.iter().map(|f| (f.id.clone(), f.event.clone(), f.retry, f.has_data, f.data.clone())).collect()
        };
        prop_assert_eq!(read(&whole), read(&cut));
        for frames in [&whole, &cut] {
            let joined: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes.to_vec()).collect();
            prop_assert_eq!(&joined[..], &stream[..joined.len()]);
        }
        // Watching and keeping know the same.
        let watched: Vec<_> = pieces(&stream, &cuts).into_iter().filter_map(|(piece, _)| piece.end).collect();
        let kept: Vec<_> = cut.iter().map(|frame| (frame.has_data, frame.id.is_some())).collect();
        prop_assert_eq!(watched.iter().map(|end| (end.has_data, end.has_id)).collect::<Vec<_>>(), kept);
    }

    #[test]
    fn a_comment_at_a_boundary_changes_no_event(stream in stream(), cuts in prop::collection::vec(any::<usize>(), 0..12)) {
        let mut framer = Framer::watching(LIMIT);
        let mut spiced = Vec::new();
        for chunk in chunks(&stream, &cuts) {
            framer.feed(&chunk).unwrap();
            spiced.extend_from_slice(&chunk);
            // Before the first byte a comment would push a byte order mark away from the begin.
            if framer.at_boundary() && !spiced.is_empty() {
                spiced.extend_from_slice(b": keep-alive\n\n");
            }
        }
        let events = |stream: &[u8]| -> Vec<_> {
            let fields = |f: Frame| (f.has_data || f.id.is_some() || f.retry.is_some()).then_some((f.id, f.event, f.retry, f.has_data, f.data));
            frames(stream, &[]).into_iter().filter_map(fields).collect()
        };
        prop_assert_eq!(events(&stream), events(&spiced));
    }

    #[test]
    fn what_is_written_is_read_again(id in proptest::option::of("[!-~][ -~]{0,12}"), data in "(?s).{0,80}") {
        let event = write_event(id.as_deref().map(str::as_bytes), data.as_bytes());
        let read = frames(&event, &[]);
        prop_assert_eq!(read.len(), 1);
        prop_assert_eq!(&read[0].bytes, &event);
        let expected = data.replace("\r\n", "\n").replace('\r', "\n");
        prop_assert_eq!(std::str::from_utf8(&read[0].data).unwrap(), expected);
        prop_assert_eq!(read[0].id.as_deref(), id.as_deref().map(str::as_bytes));
    }
}
