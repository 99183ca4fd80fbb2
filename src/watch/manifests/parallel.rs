// SPDX-License-Identifier: Apache-2.0
//! Parsing text on more than one processor.

use std::thread;

/// The most threads: a node's work is not to read manifests.
const MOST: usize = 4;

/// Applies `work` to each item and returns the results in their order. `threads` may be 1.
pub(super) fn map<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let share = items.len().div_ceil(threads.max(1)).max(1);
    let mut shares = items.chunks(share);
    let own = shares.next().unwrap_or_default();
    let work = &work;
    thread::scope(|scope| {
        let others: Vec<_> = shares
            .map(|share| scope.spawn(move || share.iter().map(work).collect::<Vec<_>>()))
            .collect();
        let mut results: Vec<R> = own.iter().map(work).collect();
        for other in others {
            match other.join() {
                Ok(more) => results.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}

/// How many threads may run: as many as processors, within the limits of the container.
pub(super) fn threads() -> usize {
    thread::available_parallelism().map_or(1, |n| n.get().min(MOST))
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn results_keep_their_order() {
        let items: Vec<usize> = (0..1000).collect();
        for threads in [0, 1, 2, 3, 7, 2000] {
            let doubled = map(&items, threads, |i| i * 2);
            assert!(
                doubled.iter().enumerate().all(|(i, d)| *d == i * 2),
                "{threads}"
            );
            assert_eq!(doubled.len(), items.len());
        }
        assert!(map(&[0_u8; 0], 4, |i| *i).is_empty());
    }
}
