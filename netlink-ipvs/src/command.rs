// SPDX-License-Identifier: Apache-2.0
//! What a message asks for, or answers.

/// The command in the generic netlink header (`IPVS_CMD_*`).
///
/// Answers carry the command that would make what they report: services come as
/// [`Command::NewService`], destinations as [`Command::NewDestination`], time-outs as
/// [`Command::SetConfig`], and the answer to [`Command::GetInfo`] is [`Command::SetInfo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Command {
    /// Adds a service. `EEXIST` if it is there.
    NewService,
    /// Changes a service: everything but what identifies it. `ESRCH` if there is none.
    SetService,
    /// Removes a service with its destinations. `ESRCH` if there is none.
    DeleteService,
    /// Asks for one service, or for all with `NLM_F_DUMP`.
    GetService,
    /// Adds a destination to a service. `EEXIST` if it is there.
    NewDestination,
    /// Changes a destination. `ENOENT` if there is none.
    SetDestination,
    /// Removes a destination. `ENOENT` if there is none. Connections to it live on.
    DeleteDestination,
    /// Asks for all destinations of a service, with `NLM_F_DUMP`.
    GetDestination,
    /// Starts a synchronisation daemon.
    NewDaemon,
    /// Stops a synchronisation daemon.
    DeleteDaemon,
    /// Asks for the synchronisation daemons.
    GetDaemon,
    /// Sets the time-outs of connections, or reports them.
    SetConfig,
    /// Asks for the time-outs of connections.
    GetConfig,
    /// Reports the version and the size of the table of connections.
    SetInfo,
    /// Asks for the version and the size of the table of connections.
    GetInfo,
    /// Sets counters to zero, those of one service or all.
    Zero,
    /// Removes all services, whoever made them.
    Flush,
    /// One that this crate does not know.
    Other(u8),
}

/// In the order of their numbers, which begin with 1.
const KNOWN: [Command; 17] = [
    Command::NewService,
    Command::SetService,
    Command::DeleteService,
    Command::GetService,
    Command::NewDestination,
    Command::SetDestination,
    Command::DeleteDestination,
    Command::GetDestination,
    Command::NewDaemon,
    Command::DeleteDaemon,
    Command::GetDaemon,
    Command::SetConfig,
    Command::GetConfig,
    Command::SetInfo,
    Command::GetInfo,
    Command::Zero,
    Command::Flush,
];

impl From<u8> for Command {
    fn from(number: u8) -> Self {
        let known = usize::from(number)
            .checked_sub(1)
            .and_then(|at| KNOWN.get(at));
        known.copied().unwrap_or(Command::Other(number))
    }
}

impl From<Command> for u8 {
    fn from(command: Command) -> Self {
        match command {
            Command::Other(number) => number,
            known => KNOWN
                .iter()
                .zip(1..)
                .find(|(c, _)| **c == known)
                .map_or(0, |(_, number)| number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back() {
        for number in 0..=u8::MAX {
            assert_eq!(u8::from(Command::from(number)), number);
        }
        // include/uapi/linux/ip_vs.h
        assert_eq!(Command::from(4), Command::GetService);
        assert_eq!(Command::from(8), Command::GetDestination);
        assert_eq!(Command::from(13), Command::GetConfig);
        assert_eq!(Command::from(17), Command::Flush);
        assert_eq!(Command::from(18), Command::Other(18));
    }
}
