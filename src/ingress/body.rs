// SPDX-License-Identifier: Apache-2.0
//! Bodies on their way, with limits and patience. Nothing is read before there is room for it on
//! the other side, or in memory if it may have to be sent again.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::action::compress::Coding;
use super::action::rate::Rate;
use super::copy;
use super::keep::{self, Budget, Buffer};
use super::proxy::Exchange;
use super::shape::Shape;
use super::upstream::Lease;

/// Why a body ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// The client sent more than a request may have.
    #[error("the request body is too large")]
    TooLarge,
    /// The client sent nothing for too long.
    #[error("the request body does not come")]
    TimedOut,
    /// The client's connection broke.
    #[error("the request body broke off")]
    Client,
    /// The endpoint sent nothing for too long.
    #[error("the response body does not come")]
    UpstreamTimedOut,
    /// The endpoint's connection broke.
    #[error("the response body broke off")]
    Upstream,
}

/// A timer that is made once it is needed.
#[derive(Debug, Default)]
struct Patience(Option<Pin<Box<Sleep>>>);

impl Patience {
    /// Whether nothing has come for so long.
    fn is_over(&mut self, limit: Duration, cx: &mut Context<'_>) -> bool {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(cx).is_ready()
    }

    fn renew(&mut self) {
        self.0 = None;
    }
}

/// How far a request body has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// It was asked for: if it is not kept, it cannot be sent a second time.
    pub(crate) started: Cell<bool>,
    /// It was sent.
    pub(crate) done: Cell<bool>,
    /// How much of it has come, in bytes.
    pub(crate) bytes: Cell<u64>,
    /// It ended early.
    pub(crate) broken: Cell<Option<Broken>>,
    /// When some of it was sent last.
    pub(crate) moved: Cell<Option<Instant>>,
}

/// A request body on its way to an endpoint.
#[derive(Debug, Default)]
pub(crate) struct RequestBody {
    source: Source,
}

/// Where a request body comes from.
#[derive(Debug, Default)]
enum Source {
    /// There is none.
    #[default]
    None,
    /// In a box, as most requests have none.
    Client(Box<ClientBody>),
    Kept(Kept),
    /// Another one's copy, for a mirror.
    Copy(copy::Reader),
}

#[derive(Debug)]
struct ClientBody {
    incoming: Incoming,
    /// What was read and not passed on yet, the last of it first.
    before: Vec<Frame<Bytes>>,
    /// Bytes that may still come.
    left: u64,
    limit: Duration,
    patience: Patience,
    progress: Rc<Progress>,
    copy: Option<copy::Writer>,
}

/// A body that has come to its end before it is sent: it can be sent more than once.
#[derive(Debug, Clone)]
struct Kept {
    bytes: Bytes,
    progress: Rc<Progress>,
}

impl RequestBody {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self::default()
    }

    /// A client's body, of so many bytes at most, with so long between two reads.
    pub(crate) fn new(incoming: Incoming, most: u64, limit: Duration) -> (Self, Rc<Progress>) {
        let progress = Rc::new(Progress::default());
        let client = ClientBody {
            incoming,
            before: Vec::new(),
            left: most,
            limit,
            patience: Patience::default(),
            progress: progress.clone(),
            copy: None,
        };
        let source = Source::Client(Box::new(client));
        (Self { source }, progress)
    }

    /// What is copied of another.
    pub(crate) fn copied(reader: copy::Reader) -> Self {
        Self {
            source: Source::Copy(reader),
        }
    }

    /// Waits until all of it has come, so that it can be sent more than once. One that is longer
    /// than [`keep::MOST`], that has trailers or for which there is no room goes on as it comes.
    ///
    /// # Errors
    ///
    /// It ends early.
    pub(crate) async fn keep(self, budget: &Budget) -> Result<Self, Broken> {
        let source = match self.source {
            Source::Client(client) => client.keep(budget).await?,
            source => source,
        };
        Ok(Self { source })
    }

    /// The same once more, if it can be sent once more.
    pub(crate) fn again(&self) -> Option<Self> {
        let source = match &self.source {
            Source::None => Source::None,
            Source::Kept(kept) => Source::Kept(kept.clone()),
            Source::Client(_) | Source::Copy(_) => return None,
        };
        Some(Self { source })
    }

    /// Copies it on its way.
    pub(crate) fn copy_to(&mut self, writer: copy::Writer) {
        match &mut self.source {
            Source::Client(client) => client.copy = Some(writer),
            Source::Kept(kept) => {
                writer.write(&kept.bytes);
                writer.finish();
            }
            Source::None | Source::Copy(_) => {}
        }
    }
}

impl ClientBody {
    async fn keep(mut self: Box<Self>, budget: &Budget) -> Result<Source, Broken> {
        let hint = self.incoming.size_hint();
        if hint.lower() > keep::MOST as u64 {
            return Ok(Source::Client(self));
        }
        let mut buffer = Buffer::new(budget, hint.exact());
        while let Some(frame) = poll_fn(|cx| self.read(cx)).await {
            let frame = frame?;
            if !frame.data_ref().is_some_and(|data| buffer.add(data)) {
                self.before = vec![frame, Frame::data(buffer.freeze())];
                return Ok(Source::Client(self));
            }
            if self.incoming.is_end_stream() {
                break;
            }
        }
        self.progress.done.set(true);
        Ok(Source::Kept(Kept {
            bytes: buffer.freeze(),
            progress: self.progress,
        }))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.progress.started.set(true);
        let read = match self.before.pop() {
            Some(frame) => Some(Ok(frame)),
            None => ready!(self.read(cx)),
        };
        match &read {
            Some(Ok(frame)) => self.pass(frame),
            Some(Err(_)) => {}
            None => self.done(),
        }
        Poll::Ready(read)
    }

    /// What the client sends next.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let outcome = match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Pending if self.patience.is_over(self.limit, cx) => Err(Broken::TimedOut),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Err(_))) => Err(Broken::Client),
            Poll::Ready(Some(Ok(frame))) => self.count(frame),
        };
        match &outcome {
            Ok(_) => self.patience.renew(),
            Err(broken) => self.progress.broken.set(Some(*broken)),
        }
        Poll::Ready(Some(outcome))
    }

    fn count(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Broken> {
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        self.progress.bytes.set(self.progress.bytes.get() + length);
        self.left = self.left.checked_sub(length).ok_or(Broken::TooLarge)?;
        Ok(frame)
    }

    /// Something goes to the endpoint.
    fn pass(&self, frame: &Frame<Bytes>) {
        self.progress.moved.set(Some(Instant::now()));
        if let (Some(copy), Some(data)) = (&self.copy, frame.data_ref()) {
            copy.write(data);
        }
        if self.is_over() {
            self.done();
        }
    }

    fn done(&self) {
        self.progress.done.set(true);
        if let Some(copy) = &self.copy {
            copy.finish();
        }
    }

    fn is_over(&self) -> bool {
        self.before.is_empty() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.incoming.size_hint();
        if self.before.is_empty() {
            return hint;
        }
        let waiting = self.before.iter().filter_map(Frame::data_ref);
        let waiting: usize = waiting.map(Bytes::len).sum();
        let exact = hint.exact().map(|left| left + waiting as u64);
        exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Kept {
    fn poll(&mut self) -> Option<Frame<Bytes>> {
        if self.bytes.is_empty() {
            return None;
        }
        self.progress.started.set(true);
        self.progress.moved.set(Some(Instant::now()));
        Some(Frame::data(std::mem::take(&mut self.bytes)))
    }
}

impl hyper::body::Body for RequestBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut self.source {
            Source::Client(client) => client.poll(cx),
            Source::None => Poll::Ready(None),
            Source::Kept(kept) => Poll::Ready(kept.poll().map(Ok)),
            Source::Copy(copy) => copy.poll(cx).map(|next| {
                let piece = next?.map_err(|copy::Lost| Broken::Client);
                Some(piece.map(Frame::data))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Client(client) => client.is_over(),
            Source::None => true,
            Source::Kept(kept) => kept.bytes.is_empty(),
            Source::Copy(copy) => copy.is_done(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Client(client) => client.size_hint(),
            Source::None => SizeHint::with_exact(0),
            Source::Kept(kept) => SizeHint::with_exact(kept.bytes.len() as u64),
            Source::Copy(_) => SizeHint::default(),
        }
    }
}

/// The body of an answer to a client. The exchange is over when it is dropped.
#[derive(Debug)]
pub(crate) struct Body {
    kind: Kind,
    shape: Option<Box<Shape>>,
    exchange: Option<Box<Exchange>>,
}

#[derive(Debug)]
enum Kind {
    Page(Bytes),
    Upstream {
        incoming: Incoming,
        lease: Option<Lease>,
        limit: Duration,
        patience: Patience,
    },
}

impl Body {
    /// A page of our own.
    pub(crate) fn page(page: Bytes, exchange: Option<Box<Exchange>>) -> Self {
        Self {
            kind: Kind::Page(page),
            shape: None,
            exchange,
        }
    }

    /// What an endpoint sends, with so long between two reads.
    pub(crate) fn upstream(
        incoming: Incoming,
        lease: Lease,
        limit: Duration,
        exchange: Box<Exchange>,
    ) -> Self {
        let mut lease = Some(lease);
        if incoming.is_end_stream() {
            lease.take().into_iter().for_each(Lease::finish);
        }
        Self {
            kind: Kind::Upstream {
                incoming,
                lease,
                limit,
                patience: Patience::default(),
            },
            shape: None,
            exchange: Some(exchange),
        }
    }

    /// Encodes it on its way, and holds it to a rate.
    pub(crate) fn shape(&mut self, coding: Option<Coding>, rate: Option<Rate>) {
        self.shape = Shape::new(coding, rate).map(Box::new);
    }
}

impl Kind {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let (incoming, lease, limit, patience) = match self {
            Kind::Page(page) if page.is_empty() => return Poll::Ready(None),
            Kind::Page(page) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(page))))),
            Kind::Upstream {
                incoming,
                lease,
                limit,
                patience,
            } => (incoming, lease, *limit, patience),
        };
        let polled = match Pin::new(&mut *incoming).poll_frame(cx) {
            Poll::Pending if patience.is_over(limit, cx) => Some(Err(Broken::UpstreamTimedOut)),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(polled) => polled.map(|frame| frame.map_err(|_| Broken::Upstream)),
        };
        patience.renew();
        if !matches!(polled, Some(Err(_))) && (polled.is_none() || incoming.is_end_stream()) {
            lease.take().into_iter().for_each(Lease::finish);
        }
        Poll::Ready(polled)
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Self { kind, shape, .. } = &mut *self;
        let polled = match shape {
            None => kind.poll(cx),
            Some(shape) => shape.poll(cx, |cx| kind.poll(cx)),
        };
        if let Some(exchange) = &mut self.exchange {
            exchange.polled(&polled);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        if self.shape.as_ref().is_some_and(|shape| !shape.is_empty()) {
            return false;
        }
        match &self.kind {
            Kind::Page(page) => page.is_empty(),
            Kind::Upstream { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let hint = match &self.kind {
            Kind::Page(page) => SizeHint::with_exact(page.len() as u64),
            Kind::Upstream { incoming, .. } => incoming.size_hint(),
        };
        match &self.shape {
            None => hint,
            Some(shape) if shape.encodes() => SizeHint::default(),
            Some(shape) => match hint.exact() {
                Some(left) => SizeHint::with_exact(left + shape.waiting()),
                None => SizeHint::default(),
            },
        }
    }
}
