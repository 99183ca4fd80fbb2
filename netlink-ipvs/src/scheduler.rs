// SPDX-License-Identifier: Apache-2.0
//! Schedulers: how a destination is chosen for a connection.

use std::fmt;

macro_rules! schedulers {
    ($( $(#[$meta:meta])* $variant:ident = $name:literal, )+) => {
        /// A scheduler by its name. Each is a kernel module, `ip_vs_NAME`, which the kernel loads
        /// itself if it can; it answers `ENOENT` if it has none of that name.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Scheduler {
            $( $(#[$meta])* $variant, )+
            /// One that this crate does not know. The kernel takes at most 15 bytes.
            Other(String),
        }

        impl Scheduler {
            /// The ones that this crate knows.
            pub const ALL: &[Scheduler] = &[$( Scheduler::$variant, )+];

            /// The kernel's name of it.
            pub fn name(&self) -> &str {
                match self {
                    $( Scheduler::$variant => $name, )+
                    Scheduler::Other(name) => name,
                }
            }
        }

        impl From<&str> for Scheduler {
            fn from(name: &str) -> Self {
                match name {
                    $( $name => Scheduler::$variant, )+
                    other => Scheduler::Other(other.to_owned()),
                }
            }
        }
    };
}

schedulers! {
    /// One after the other.
    RoundRobin = "rr",
    /// One after the other, the heavier ones more often.
    WeightedRoundRobin = "wrr",
    /// The one with the fewest connections.
    LeastConnection = "lc",
    /// The one with the fewest connections for its weight.
    WeightedLeastConnection = "wlc",
    /// The same one for a destination address, unless it is overloaded.
    LocalityLeastConnection = "lblc",
    /// The same few for a destination address.
    LocalityLeastConnectionReplication = "lblcr",
    /// By a hash of the destination address.
    DestinationHash = "dh",
    /// By a hash of the client's address.
    SourceHash = "sh",
    /// The one that would be the least loaded with one connection more.
    ShortestExpectedDelay = "sed",
    /// An idle one, or as [`Scheduler::ShortestExpectedDelay`].
    NeverQueue = "nq",
    /// The heaviest one that is up.
    FailOver = "fo",
    /// The heaviest one until it has as many connections as weight, then the next.
    OverFlow = "ovf",
    /// By a consistent (Maglev) hash of the client's address.
    MaglevHash = "mh",
    /// The better one of two taken at random.
    PowerOfTwo = "twos",
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for scheduler in Scheduler::ALL {
            assert_eq!(Scheduler::from(scheduler.name()), *scheduler);
        }
        assert_eq!(Scheduler::from("mh"), Scheduler::MaglevHash);
        assert_eq!(Scheduler::from("new"), Scheduler::Other("new".to_owned()));
        assert_eq!(Scheduler::from("new").to_string(), "new");
    }
}
