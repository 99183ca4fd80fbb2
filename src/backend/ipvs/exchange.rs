// SPDX-License-Identifier: Apache-2.0
//! Carries IPVS messages over our netlink socket.

use std::time::Duration;

use netlink_ipvs::{FAMILY_NAME, IpvsMessage};
use netlink_packet_core::{Emitable, NetlinkMessage, NetlinkSerializable, ParseableParametrized};
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily, GenlMessage};
use nix::libc::ENOENT;

use super::is_answer;
use crate::backend::Error;
use crate::backend::netlink::{Failure, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, Socket};

/// Requests sent in one go. Each causes an answer, and all must fit into the receive buffer.
const BATCH: usize = 1000;

/// How often, and how many times, to look whether a module that is being loaded is there.
const LOOK: Duration = Duration::from_millis(100);
const LOADING: u32 = 50;

/// A socket and the number that the kernel gave to the IPVS family at this boot.
#[derive(Debug)]
pub(super) struct Exchange {
    socket: Socket,
    family: u16,
}

impl Exchange {
    /// Looks the family up, at which the kernel loads the module if it can.
    pub(super) fn open() -> Result<Self, Error> {
        for _ in 0..LOADING {
            match Self::look_up() {
                // Somebody else is loading it; then modprobe may end before it can be used.
                Err(Error::Missing(_)) if listed() => std::thread::sleep(LOOK),
                other => return other,
            }
        }
        Self::look_up()
    }

    fn look_up() -> Result<Self, Error> {
        let mut socket = Socket::generic()?;
        let question = GenlCtrl {
            cmd: GenlCtrlCmd::GetFamily,
            nlas: vec![GenlCtrlAttrs::FamilyName(FAMILY_NAME.to_owned())],
        };
        let mut request = Vec::new();
        encode(&mut request, question, 0, NLM_F_ACK, 1);
        let mut family = None;
        let asked = socket.dump(&request, |kind, payload| {
            let answer = GenlMessage::<GenlCtrl>::parse_with_param(payload, kind);
            let nlas = answer.map(|a| a.payload.nlas).unwrap_or_default();
            family = family.or(nlas.iter().find_map(|nla| match nla {
                GenlCtrlAttrs::FamilyId(id) => Some(*id),
                _ => None,
            }));
        });
        match (asked, family) {
            (Ok(()), Some(family)) => Ok(Self { socket, family }),
            (Ok(()), None) => Err(Error::Malformed("generic netlink family IPVS".into())),
            (Err(e), _) if e.errno() == Some(ENOENT) => Err(Error::Missing(
                "the kernel lacks IPVS (CONFIG_IP_VS; module ip_vs)".into(),
            )),
            (Err(e), _) => Err(e.about("look up", "generic netlink family IPVS")),
        }
    }

    /// Asks, and passes the answers on: all objects, or one.
    pub(super) fn ask(
        &mut self,
        request: &IpvsMessage,
        all: bool,
        mut each: impl FnMut(IpvsMessage),
    ) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let flags = if all { NLM_F_DUMP } else { NLM_F_ACK };
        encode(&mut bytes, request.clone(), self.family, flags, 1);
        let mut malformed = None;
        self.socket.dump(
            &bytes,
            |kind, payload| match GenlMessage::<IpvsMessage>::parse_with_param(payload, kind) {
                Ok(answer) if is_answer(&answer.payload) => each(answer.payload),
                Ok(_) => {}
                Err(e) => malformed = Some(e),
            },
        )?;
        malformed.map_or(Ok(()), |e| Err(Error::Malformed(e.to_string())))
    }

    /// Sends requests that change something, and returns those that were refused: place and reason.
    pub(super) fn tell(
        &mut self,
        requests: &[IpvsMessage],
    ) -> Result<Vec<(usize, Failure)>, Error> {
        let mut refused = Vec::new();
        for (start, batch) in (0..).step_by(BATCH).zip(requests.chunks(BATCH)) {
            let mut bytes = Vec::new();
            for (seq, request) in (1..).zip(batch) {
                encode(&mut bytes, request.clone(), self.family, NLM_F_ACK, seq);
            }
            let failures = self.socket.acknowledged(&bytes)?;
            refused.extend(failures.into_iter().filter_map(|failure| {
                let index = (failure.seq as usize).checked_sub(1)?;
                (index < batch.len()).then_some((start + index, failure))
            }));
        }
        Ok(refused)
    }
}

/// Whether the module is there, whatever its state.
fn listed() -> bool {
    let modules = std::fs::read_to_string("/proc/modules").unwrap_or_default();
    modules.lines().any(|line| line.starts_with("ip_vs "))
}

/// Appends a message; it ends where the next one may begin.
fn encode<F>(bytes: &mut Vec<u8>, payload: F, family: u16, flags: u16, seq: u32)
where
    F: GenlFamily + Emitable + Clone + std::fmt::Debug,
    GenlMessage<F>: NetlinkSerializable,
{
    let mut message = GenlMessage::from_payload(payload);
    message.set_resolved_family_id(family);
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | flags;
    message.header.sequence_number = seq;
    message.finalize();
    let start = bytes.len();
    bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut bytes[start..]);
}
