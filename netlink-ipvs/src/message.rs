// SPDX-License-Identifier: Apache-2.0
//! Messages: a command with attributes.

use netlink_packet_core::{DecodeError, Emitable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};

use crate::attribute::{InfoAttribute, IpvsAttribute};
use crate::command::Command;
use crate::destination::Destination;
use crate::service::{Service, ServiceKey};
use crate::value::read_list;

/// Name of the generic netlink family (`IPVS_GENL_NAME`).
pub const FAMILY_NAME: &str = "IPVS";
/// Its version (`IPVS_GENL_VERSION`).
pub const FAMILY_VERSION: u8 = 1;

/// A message of the family, without its netlink header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpvsMessage {
    /// What it asks for, or answers.
    pub command: Command,
    /// Attributes of all commands but [`Command::SetInfo`].
    pub attributes: Vec<IpvsAttribute>,
    /// Attributes of [`Command::SetInfo`], which have numbers of their own.
    pub info: Vec<InfoAttribute>,
}

impl IpvsMessage {
    fn new(command: Command, attributes: Vec<IpvsAttribute>) -> Self {
        Self {
            command,
            attributes,
            info: Vec::new(),
        }
    }

    fn of_service(command: Command, key: &ServiceKey) -> Self {
        Self::new(command, vec![IpvsAttribute::Service(key.to_attributes())])
    }

    fn of_destination(command: Command, key: &ServiceKey, destination: &Destination) -> Self {
        let attributes = match command {
            Command::DeleteDestination => destination.key_attributes(),
            _ => destination.to_attributes(),
        };
        let mut message = Self::of_service(command, key);
        message
            .attributes
            .push(IpvsAttribute::Destination(attributes));
        message
    }

    /// Adds a service.
    pub fn new_service(service: &Service) -> Self {
        let attributes = vec![IpvsAttribute::Service(service.to_attributes())];
        Self::new(Command::NewService, attributes)
    }

    /// Changes a service: everything but its key.
    pub fn set_service(service: &Service) -> Self {
        let attributes = vec![IpvsAttribute::Service(service.to_attributes())];
        Self::new(Command::SetService, attributes)
    }

    /// Removes a service with its destinations.
    pub fn delete_service(key: &ServiceKey) -> Self {
        Self::of_service(Command::DeleteService, key)
    }

    /// Asks for one service. Send it without `NLM_F_DUMP`.
    pub fn get_service(key: &ServiceKey) -> Self {
        Self::of_service(Command::GetService, key)
    }

    /// Asks for all services. Send it with `NLM_F_DUMP`.
    pub fn get_services() -> Self {
        Self::new(Command::GetService, Vec::new())
    }

    /// Adds a destination to a service.
    pub fn new_destination(key: &ServiceKey, destination: &Destination) -> Self {
        Self::of_destination(Command::NewDestination, key, destination)
    }

    /// Changes a destination: everything but its address and port.
    pub fn set_destination(key: &ServiceKey, destination: &Destination) -> Self {
        Self::of_destination(Command::SetDestination, key, destination)
    }

    /// Removes a destination. Only its address counts.
    pub fn delete_destination(key: &ServiceKey, destination: &Destination) -> Self {
        Self::of_destination(Command::DeleteDestination, key, destination)
    }

    /// Asks for the destinations of a service. Send it with `NLM_F_DUMP`.
    pub fn get_destinations(key: &ServiceKey) -> Self {
        Self::of_service(Command::GetDestination, key)
    }

    /// Sets how long connections may be idle, seconds: established TCP, TCP after a FIN, UDP. 0
    /// leaves one as it is.
    pub fn set_timeouts(tcp: u32, tcp_fin: u32, udp: u32) -> Self {
        let attributes = vec![
            IpvsAttribute::TimeoutTcp(tcp),
            IpvsAttribute::TimeoutTcpFin(tcp_fin),
            IpvsAttribute::TimeoutUdp(udp),
        ];
        Self::new(Command::SetConfig, attributes)
    }

    /// Asks how long connections may be idle.
    pub fn get_timeouts() -> Self {
        Self::new(Command::GetConfig, Vec::new())
    }

    /// Asks for the version and the size of the table of connections.
    pub fn get_info() -> Self {
        Self::new(Command::GetInfo, Vec::new())
    }

    /// Removes all services of the network namespace, whoever made them.
    pub fn flush() -> Self {
        Self::new(Command::Flush, Vec::new())
    }

    /// The service that the message is about, if it is about one.
    ///
    /// # Errors
    /// As [`Service::from_attributes`].
    pub fn service(&self) -> Option<Result<Service, DecodeError>> {
        self.attributes.iter().find_map(|a| match a {
            IpvsAttribute::Service(attributes) => Some(Service::from_attributes(attributes)),
            _ => None,
        })
    }

    /// The destination that the message is about, if it is about one. The family is that of the
    /// service asked for.
    ///
    /// # Errors
    /// As [`Destination::from_attributes`].
    pub fn destination(&self, service_family: u16) -> Option<Result<Destination, DecodeError>> {
        self.attributes.iter().find_map(|a| match a {
            IpvsAttribute::Destination(attributes) => {
                Some(Destination::from_attributes(service_family, attributes))
            }
            _ => None,
        })
    }
}

impl GenlFamily for IpvsMessage {
    fn family_name() -> &'static str {
        FAMILY_NAME
    }

    fn command(&self) -> u8 {
        self.command.into()
    }

    fn version(&self) -> u8 {
        FAMILY_VERSION
    }
}

impl Emitable for IpvsMessage {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len() + self.info.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        let (attributes, info) = buffer.split_at_mut(self.attributes.as_slice().buffer_len());
        self.attributes.as_slice().emit(attributes);
        self.info.as_slice().emit(info);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for IpvsMessage {
    fn parse_with_param(bytes: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        let command = Command::from(header.cmd);
        let mut message = Self::new(command, Vec::new());
        if command == Command::SetInfo {
            message.info = read_list(bytes)?;
        } else {
            message.attributes = read_list(bytes)?;
        }
        Ok(message)
    }
}
