// SPDX-License-Identifier: Apache-2.0
//! A copy of a body on its way, for a mirror. The original never waits for it: what a slow reader
//! leaves lying beyond a bound is lost, and with it the copy.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

/// Both ends.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Bytes>,
    bytes: usize,
    ended: Option<Ended>,
    reader: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Whole,
    Lost,
}

/// Where the original is written to.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Rc<RefCell<Queue>>,
    most: usize,
}

/// What the mirror reads.
#[derive(Debug)]
pub(crate) struct Reader {
    queue: Rc<RefCell<Queue>>,
}

/// The copy is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

/// A copy of which so many bytes may wait.
pub(crate) fn channel(most: usize) -> (Writer, Reader) {
    let queue = Rc::<RefCell<Queue>>::default();
    let writer = Writer {
        queue: queue.clone(),
        most,
    };
    (writer, Reader { queue })
}

impl Writer {
    /// Copies a piece.
    pub(crate) fn write(&self, data: &Bytes) {
        let mut queue = self.queue.borrow_mut();
        if queue.ended.is_some() {
            return;
        }
        if queue.bytes + data.len() > self.most {
            return queue.end(Ended::Lost);
        }
        queue.bytes += data.len();
        queue.waiting.push_back(data.clone());
        queue.wake();
    }

    /// The original is whole.
    pub(crate) fn finish(&self) {
        self.queue.borrow_mut().end(Ended::Whole);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.borrow_mut().end(Ended::Lost);
    }
}

impl Queue {
    fn end(&mut self, ended: Ended) {
        self.ended.get_or_insert(ended);
        if self.ended == Some(Ended::Lost) {
            self.waiting.clear();
        }
        self.wake();
    }

    fn wake(&mut self) {
        self.reader.take().into_iter().for_each(Waker::wake);
    }
}

impl Reader {
    /// The next piece.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Lost>>> {
        let mut queue = self.queue.borrow_mut();
        if let Some(data) = queue.waiting.pop_front() {
            queue.bytes -= data.len();
            return Poll::Ready(Some(Ok(data)));
        }
        match queue.ended {
            Some(Ended::Whole) => Poll::Ready(None),
            Some(Ended::Lost) => Poll::Ready(Some(Err(Lost))),
            None => {
                queue.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether nothing more comes.
    pub(crate) fn is_done(&self) -> bool {
        let queue = self.queue.borrow();
        queue.waiting.is_empty() && queue.ended == Some(Ended::Whole)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Nobody needs it any more.
        self.queue.borrow_mut().end(Ended::Lost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(reader: &mut Reader) -> Poll<Option<Result<Bytes, Lost>>> {
        reader.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_copy_is_whole_or_lost() {
        let piece = Bytes::from_static(b"abc");
        let (writer, mut reader) = channel(5);
        assert_eq!(next(&mut reader), Poll::Pending);
        writer.write(&piece);
        assert_eq!(next(&mut reader), Poll::Ready(Some(Ok(piece.clone()))));
        writer.write(&piece);
        writer.finish();
        drop(writer);
        assert!(!reader.is_done());
        assert_eq!(next(&mut reader), Poll::Ready(Some(Ok(piece.clone()))));
        assert!(reader.is_done());
        assert_eq!(next(&mut reader), Poll::Ready(None));

        let (writer, mut reader) = channel(5);
        writer.write(&piece);
        writer.write(&piece);
        assert_eq!(next(&mut reader), Poll::Ready(Some(Err(Lost))));
        writer.finish();
        assert_eq!(next(&mut reader), Poll::Ready(Some(Err(Lost))));

        let (writer, mut reader) = channel(5);
        writer.write(&piece);
        drop(writer);
        assert_eq!(next(&mut reader), Poll::Ready(Some(Err(Lost))));
    }

    #[test]
    fn nothing_waits_for_a_reader_that_is_gone() {
        let (writer, reader) = channel(5);
        drop(reader);
        writer.write(&Bytes::from_static(b"abc"));
        assert_eq!(writer.queue.borrow().bytes, 0);
    }
}
