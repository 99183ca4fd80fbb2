// SPDX-License-Identifier: Apache-2.0
//! Messages of the Linux kernel's IP Virtual Server (IPVS) over generic netlink, as
//! `include/uapi/linux/ip_vs.h` has them: what `ipvsadm` does, without running it.
//!
//! This crate turns messages into bytes and back. It opens no socket: use `netlink-sys`,
//! `netlink-proto` or whatever carries bytes.
//!
//! There are two layers:
//!
//! - [`IpvsMessage`] is a command with attributes, one to one what is on the wire. Decoding keeps
//!   what it does not know ([`ServiceAttribute::Other`] and the like) and never panics, whatever
//!   the bytes are.
//! - [`Service`] and [`Destination`] are what the attributes say, and make the requests:
//!
//! ```
//! use netlink_ipvs::{Destination, IpvsMessage, Scheduler, Service, ServiceKey};
//!
//! let key = ServiceKey::tcp("192.0.2.1:80".parse().unwrap());
//! let mut service = Service::new(key);
//! service.scheduler = Scheduler::LeastConnection;
//! service.set_persistence(300);
//! let requests = [
//!     IpvsMessage::new_service(&service),
//!     IpvsMessage::new_destination(&key, &Destination::new("10.0.0.1:8080".parse().unwrap())),
//! ];
//! ```
//!
//! The number of the family changes from boot to boot: ask the kernel for the one that is named
//! [`FAMILY_NAME`] (`netlink_packet_generic::ctrl`), and give it to
//! [`GenlMessage::new`](netlink_packet_generic::GenlMessage::new).
//! `examples/list_services.rs` shows the whole exchange.

mod attribute;
mod command;
mod destination;
mod macros;
mod message;
mod scheduler;
mod service;
mod stats;
mod value;

pub use attribute::{DestinationAttribute, InfoAttribute, IpvsAttribute, ServiceAttribute};
pub use command::Command;
pub use destination::{Destination, ForwardingMethod, Tunnel};
pub use message::{FAMILY_NAME, FAMILY_VERSION, IpvsMessage};
pub use scheduler::Scheduler;
pub use service::{Netmask, Service, ServiceKey};
pub use stats::{Stats, Stats64Attribute, StatsAttribute};
pub use value::{BigEndian, RawAddress, ServiceFlags};
