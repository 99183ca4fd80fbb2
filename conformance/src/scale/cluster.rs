// SPDX-License-Identifier: Apache-2.0
//! An API server with etcd, and as many Services as are asked for.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::objects::{SPARE, Size};
use super::progress::Progress;
use super::results::{Fill, rounded};
use crate::agent;
use crate::differential::api::{Api, program};
use crate::interrupt;
use crate::object::node;

/// Objects that are created before the next progress is told.
const BATCH: usize = 500;

/// The filled API server. It ends when this is dropped.
pub struct Cluster {
    /// The server.
    pub api: Api,
    /// How large it is.
    pub size: Size,
    /// Where all files are.
    pub directory: TempDir,
    generations: Vec<AtomicU32>,
    spare: AtomicU32,
}

/// Whether everything is there.
///
/// # Errors
/// Naming the program that is not.
pub fn check_programs() -> Result<()> {
    for name in [
        "etcd",
        "kube-apiserver",
        "kube-proxy",
        "openssl",
        "nft",
        "ip",
        "setpriv",
    ] {
        program(name).context("the scale test needs Kubernetes' own programs and a few more")?;
    }
    agent::binary().map(drop)
}

impl Cluster {
    /// Starts the server and fills it.
    ///
    /// # Errors
    /// If a program is missing or does not come up, or the server refuses an object.
    pub fn start(size: Size) -> Result<(Self, Fill)> {
        let directory = tempfile::Builder::new()
            .prefix("ferrule-scale-")
            .tempdir()?;
        interrupt::remove_later(directory.path().to_owned());
        let api = Api::start(directory.path())?;
        api.update(&node(1, "zone-0"))?;
        let generations = (0..size.services + SPARE)
            .map(|_| AtomicU32::new(0))
            .collect();
        let spare = AtomicU32::new(0);
        let cluster = Self {
            api,
            size,
            directory,
            generations,
            spare,
        };
        let fill = cluster.fill()?;
        Ok((cluster, fill))
    }

    fn fill(&self) -> Result<Fill> {
        let size = self.size;
        let mut progress = Progress::new("fill the API server");
        let step = BATCH / 2;
        for first in (0..size.services).step_by(step) {
            let some = first..size.services.min(first + step as u32);
            let objects: Vec<_> = some
                .flat_map(|i| [size.service(i), size.slice(i, 0)])
                .collect();
            self.create(&objects)?;
            progress.at(|| format!("{} of {} Services", first + step as u32, size.services));
        }
        let seconds = progress.elapsed().as_secs_f64();
        let objects = 2 * size.services;
        Ok(Fill {
            objects,
            seconds: rounded(seconds),
            per_second: rounded(f64::from(objects) / seconds),
        })
    }

    fn create(&self, objects: &[Value]) -> Result<()> {
        let answers = self.api.create(objects)?;
        for (answer, object) in answers.into_iter().zip(objects) {
            answer.with_context(|| format!("{} {}", object["kind"], object["metadata"]["name"]))?;
        }
        Ok(())
    }

    /// The generation of Service `i`.
    #[must_use]
    pub fn generation(&self, i: u32) -> u32 {
        self.generations[i as usize].load(Ordering::Relaxed)
    }

    /// Gives Service `i` other endpoints, all of them. Returns once the server has said so.
    ///
    /// # Errors
    /// What the server says.
    pub fn replace(&self, i: u32) -> Result<()> {
        let next = 1 + self.generations[i as usize].fetch_add(1, Ordering::Relaxed);
        self.api.update(&self.size.slice(i, next))
    }

    /// Creates a Service with its endpoints and returns its number, once the server has
    /// acknowledged both objects.
    ///
    /// # Errors
    /// What the server says, or if there have been too many.
    pub fn add(&self) -> Result<u32> {
        let spare = self.spare.fetch_add(1, Ordering::Relaxed);
        ensure!(spare < SPARE, "more than {SPARE} new Services");
        let i = self.size.services + spare;
        self.create(&[self.size.service(i), self.size.slice(i, 0)])?;
        Ok(i)
    }

    /// Removes the Services that came new.
    ///
    /// # Errors
    /// What the server says.
    pub fn remove_added(&self) -> Result<()> {
        self.api.remove_round(1)?;
        self.spare.store(0, Ordering::Relaxed);
        Ok(())
    }
}
