// SPDX-License-Identifier: Apache-2.0
//! Lists services and their destinations, as `ipvsadm -Ln` does. Needs CAP_NET_ADMIN.
//!
//! With `--raw` it prints every answer of the kernel in hexadecimal, too: that is where
//! `tests/captured.rs` has its bytes from.

use std::error::Error;

use netlink_ipvs::{FAMILY_NAME, IpvsMessage};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily, GenlMessage};
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let raw = std::env::args().any(|a| a == "--raw");
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let family = find_family(&mut socket)?;
    let print = |title: &str, bytes: &[u8]| {
        if raw {
            println!("# {title}\n{}", hex(bytes));
        }
    };
    let mut ask = |title: &str, request: IpvsMessage, flags: u16| -> Result<Vec<IpvsMessage>> {
        let mut request = GenlMessage::from_payload(request);
        request.set_resolved_family_id(family);
        exchange(&mut socket, request, flags, |bytes| print(title, bytes))
    };
    for message in ask("information", IpvsMessage::get_info(), NLM_F_ACK)? {
        println!("{:?}", message.info);
    }
    for message in ask("time-outs", IpvsMessage::get_timeouts(), NLM_F_ACK)? {
        println!("{:?}", message.attributes);
    }
    for message in ask("service", IpvsMessage::get_services(), NLM_F_DUMP)? {
        let Some(service) = message.service().transpose()? else {
            continue;
        };
        println!("{service:?}");
        let request = IpvsMessage::get_destinations(&service.key);
        for message in ask("destination", request, NLM_F_DUMP)? {
            let destination = message.destination(service.key.family()).transpose()?;
            println!("  {destination:?}");
        }
    }
    Ok(())
}

fn find_family(socket: &mut Socket) -> Result<u16> {
    let question = GenlMessage::from_payload(GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: vec![GenlCtrlAttrs::FamilyName(FAMILY_NAME.to_owned())],
    });
    let answers = exchange(socket, question, NLM_F_ACK, |_| ())?;
    let nlas = answers.into_iter().flat_map(|answer| answer.nlas);
    let id = nlas.into_iter().find_map(|nla| match nla {
        GenlCtrlAttrs::FamilyId(id) => Some(id),
        _ => None,
    });
    Ok(id.ok_or("the kernel named no family")?)
}

/// Sends a request and collects the answers until the kernel says that there are no more.
fn exchange<F>(
    socket: &mut Socket,
    request: GenlMessage<F>,
    flags: u16,
    mut seen: impl FnMut(&[u8]),
) -> Result<Vec<F>>
where
    F: GenlFamily + std::fmt::Debug,
    GenlMessage<F>: NetlinkSerializable + NetlinkDeserializable,
{
    let mut request = NetlinkMessage::from(request);
    request.header.flags = NLM_F_REQUEST | flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let message = NetlinkMessage::<GenlMessage<F>>::deserialize(rest)?;
            let length = message.header.length as usize;
            match message.payload {
                NetlinkPayload::InnerMessage(answer) => {
                    seen(&rest[..length]);
                    answers.push(answer.into_parts().1);
                }
                NetlinkPayload::Error(e) if e.code.is_some() => return Err(e.to_io().into()),
                NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(answers),
                _ => {}
            }
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
