//! Log lines to standard error without waiting for it.
//!
//! Whoever reads standard error may stop reading; a write would then block the thread that serves requests. So lines go
//! through a bounded queue to one thread, and what does not fit is dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// How many log lines may wait to be written.
const QUEUED_LINES_MAX: usize = 2048;

/// How long [`LogWriter::flush`] waits for the lines before it.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(2);

type OnDropped = dyn Fn() + Send + Sync;

enum Item {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Hands each event's line to the writing thread.
#[derive(Clone)]
pub(super) struct LogWriter {
    queue: SyncSender<Item>,
    on_dropped: Arc<OnDropped>,
}

impl LogWriter {
    /// Starts the writing thread; `on_dropped` is called for each line that the queue had no room for.
    pub fn start(
        output: impl Write + Send + 'static,
        on_dropped: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<LogWriter> {
        let (queue, items) = sync_channel(QUEUED_LINES_MAX);
        thread::Builder::new().name("log".into()).stack_size(64 * 1024).spawn(move || write_all(&items, output))?;
        Ok(LogWriter { queue, on_dropped: Arc::new(on_dropped) })
    }

    /// Waits, but not for ever, until the lines before it are written.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.queue.try_send(Item::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(FLUSH_TIME_MAX);
        }
    }
}

fn write_all(items: &Receiver<Item>, mut output: impl Write) {
    for item in items {
        // Nobody is left to tell when standard error is closed.
        match item {
            Item::Line(line) => drop(output.write_all(&line)),
            Item::Flush(done) => {
                let _ = output.flush();
                let _ = done.try_send(());
            }
        }
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { text: Vec::with_capacity(256), writer: self.clone() }
    }
}

/// One event on its way to the queue.
pub(super) struct Line {
    text: Vec<u8>,
    writer: LogWriter,
}

impl Write for Line {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.text.is_empty() {
            return;
        }
        if let Err(TrySendError::Full(_)) = self.writer.queue.try_send(Item::Line(std::mem::take(&mut self.text))) {
            (self.writer.on_dropped)();
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Clone, Default)]
    pub(in super::super) struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Shared {
        pub(in super::super) fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).unwrap()
        }
    }

    impl Write for Shared {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_arrive_whole_and_in_order() {
        let output = Shared::default();
        let writer = LogWriter::start(output.clone(), || panic!("nothing may be dropped")).unwrap();
        for number in 0..100 {
            let mut line = writer.make_writer();
            write!(line, "line ").unwrap();
            writeln!(line, "{number}").unwrap();
        }
        writer.flush();
        let text = output.text();
        assert_eq!(text.lines().count(), 100);
        assert!(text.starts_with("line 0\nline 1\n"));
    }

    #[test]
    fn a_stuck_reader_costs_lines_not_time() {
        let output = Shared::default();
        let dropped = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&dropped);
        let count_one = move || {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let writer = LogWriter::start(output.clone(), count_one).unwrap();
        let stuck = output.0.lock();
        for _ in 0..QUEUED_LINES_MAX + 100 {
            writeln!(writer.make_writer(), "x").unwrap();
        }
        let lost = dropped.load(Ordering::Relaxed);
        assert!((99..=100).contains(&lost), "{lost} lines were dropped");
        drop(stuck);
        writer.flush();
    }
}
