// SPDX-License-Identifier: Apache-2.0
//! Tasks that stay on their thread.

/// Runs what hyper wants run beside a connection, on the same thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
