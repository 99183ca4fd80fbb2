// SPDX-License-Identifier: Apache-2.0
//! What is done to the body of an answer on its way: encoded, and held to a rate.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::Frame;
use tokio::time::{Instant, Sleep, sleep};

use super::action::compress::Coding;
use super::action::rate::{Rate, Verdict};
use super::body::Broken;
use super::encode::Encoder;

type Next = Option<Result<Frame<Bytes>, Broken>>;

/// One body.
#[derive(Debug)]
pub(crate) struct Shape {
    encoder: Option<Encoder>,
    pace: Option<Pace>,
    /// What may go out.
    out: Bytes,
    trailers: Option<Frame<Bytes>>,
    ended: bool,
}

/// How far a body has come that has a rate.
#[derive(Debug)]
struct Pace {
    rate: Rate,
    begun: Instant,
    sent: u64,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Shape {
    /// None if there is nothing to do.
    pub(crate) fn new(coding: Option<Coding>, rate: Option<Rate>) -> Option<Self> {
        if coding.is_none() && rate.is_none() {
            return None;
        }
        let pace = rate.map(|rate| Pace {
            rate,
            begun: Instant::now(),
            sent: 0,
            pause: None,
        });
        Some(Self {
            encoder: coding.map(Encoder::new),
            pace,
            out: Bytes::new(),
            trailers: None,
            ended: false,
        })
    }

    /// Whether the body has another length than it came with.
    pub(crate) fn encodes(&self) -> bool {
        self.encoder.is_some()
    }

    /// What waits, in bytes.
    pub(crate) fn waiting(&self) -> u64 {
        self.out.len() as u64
    }

    /// Whether nothing more comes.
    pub(crate) fn is_empty(&self) -> bool {
        self.out.is_empty() && self.trailers.is_none() && self.encoder.is_none()
    }

    /// The next piece, of a body that `body` gives.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut body: impl FnMut(&mut Context<'_>) -> Poll<Next>,
    ) -> Poll<Next> {
        loop {
            if !self.out.is_empty() {
                let length = match &mut self.pace {
                    Some(pace) => ready!(pace.poll(self.out.len(), cx)),
                    None => self.out.len(),
                };
                return Poll::Ready(Some(Ok(Frame::data(self.out.split_to(length)))));
            }
            if let Some(trailers) = self.trailers.take() {
                return Poll::Ready(Some(Ok(trailers)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let taken = match body(cx) {
                Poll::Ready(Some(Ok(frame))) => self.take(frame),
                Poll::Ready(Some(Err(broken))) => Err(broken),
                Poll::Ready(None) => self.end(),
                Poll::Pending => match self.flush() {
                    Ok(true) => Ok(()),
                    Ok(false) => return Poll::Pending,
                    Err(broken) => Err(broken),
                },
            };
            if let Err(broken) = taken {
                (self.ended, self.encoder) = (true, None);
                return Poll::Ready(Some(Err(broken)));
            }
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), Broken> {
        match frame.into_data() {
            Ok(data) => {
                self.out = match &mut self.encoder {
                    Some(encoder) => encoder.write(&data).map_err(|_| Broken::Upstream)?,
                    None => data,
                };
                Ok(())
            }
            Err(trailers) => {
                self.trailers = Some(trailers);
                self.end()
            }
        }
    }

    fn end(&mut self) -> Result<(), Broken> {
        self.ended = true;
        if let Some(encoder) = self.encoder.take() {
            self.out = encoder.finish().map_err(|_| Broken::Upstream)?;
        }
        Ok(())
    }

    /// As nothing comes, the client gets all that came.
    fn flush(&mut self) -> Result<bool, Broken> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(false);
        };
        let flushed = encoder.flush().map_err(|_| Broken::Upstream)?;
        self.out = flushed.unwrap_or_default();
        Ok(!self.out.is_empty())
    }
}

impl Pace {
    fn poll(&mut self, length: usize, cx: &mut Context<'_>) -> Poll<usize> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match self.rate.verdict(self.begun.elapsed(), self.sent, length) {
                Verdict::Send(length) => {
                    self.sent += length as u64;
                    return Poll::Ready(length);
                }
                Verdict::Wait(pause) => self.pause = Some(Box::pin(sleep(pause))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::time::Duration;

    use super::*;

    fn poll_all(shape: &mut Shape, mut frames: Vec<Poll<Next>>) -> Vec<String> {
        frames.reverse();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut seen = Vec::new();
        loop {
            let mut body = |_: &mut Context<'_>| frames.pop().unwrap_or(Poll::Ready(None));
            match shape.poll(&mut cx, &mut body) {
                Poll::Pending => seen.push("pending".to_owned()),
                Poll::Ready(None) => return seen,
                Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => seen.push("end".to_owned()),
                Poll::Ready(Some(Ok(_))) => seen.push("data".to_owned()),
                Poll::Ready(Some(Err(broken))) => seen.push(broken.to_string()),
            }
        }
    }

    fn data(text: &'static str) -> Poll<Next> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }

    #[test]
    fn an_idle_body_is_flushed_and_trailers_come_last() {
        let mut shape = Shape::new(Some(Coding::Gzip(1)), None).unwrap();
        let trailers = Poll::Ready(Some(Ok(Frame::trailers(hyper::HeaderMap::new()))));
        let frames = vec![data("a"), Poll::Pending, Poll::Pending, data("b"), trailers];
        let seen = poll_all(&mut shape, frames);
        // The head of gzip may come with the first write or with the flush.
        let seen: Vec<_> = seen.iter().map(String::as_str).collect();
        let flushed = seen.iter().position(|what| *what == "pending").unwrap();
        assert!(seen[..flushed].contains(&"data"), "{seen:?}");
        assert_eq!(seen[seen.len() - 2..], ["data", "end"], "{seen:?}");
    }

    #[test]
    fn a_body_that_breaks_stays_broken() {
        let mut shape = Shape::new(Some(Coding::Brotli(1)), None).unwrap();
        let broken = Poll::Ready(Some(Err(Broken::Upstream)));
        let seen = poll_all(&mut shape, vec![data("a"), broken]);
        assert!(
            seen.contains(&"the response body broke off".to_owned()),
            "{seen:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept() {
        let rate = Rate {
            bytes: NonZeroU64::new(1000).unwrap(),
            after: 500,
        };
        let mut shape = Shape::new(None, Some(rate)).unwrap();
        assert!(!shape.encodes());
        let begun = Instant::now();
        let mut left = Some(Bytes::from(vec![0; 5500]));
        let mut sent = 0;
        loop {
            let mut body =
                |_: &mut Context<'_>| Poll::Ready(left.take().map(|b| Ok(Frame::data(b))));
            let next = std::future::poll_fn(|cx| shape.poll(cx, &mut body)).await;
            let Some(frame) = next else { break };
            sent += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(sent, 5500);
        let took = begun.elapsed();
        assert!(
            took > Duration::from_millis(3800) && took < Duration::from_millis(4300),
            "{took:?}"
        );
    }
}
