// SPDX-License-Identifier: Apache-2.0
//! Numbers of `linux/netfilter/nf_tables.h` and `nfnetlink.h`, by the headers' names.

#![allow(missing_docs)]

/// Message types of `enum nf_tables_msg_types`, and the two that frame a batch.
pub(super) mod msg {
    /// `NFNL_SUBSYS_NFTABLES`, as the high byte of a message type.
    const NFTABLES: u16 = 10 << 8;

    pub(crate) const BATCH_BEGIN: u16 = 0x10;
    pub(crate) const BATCH_END: u16 = 0x11;
    pub(crate) const NEWTABLE: u16 = NFTABLES;
    pub(crate) const GETTABLE: u16 = NFTABLES | 1;
    pub(crate) const DELTABLE: u16 = NFTABLES | 2;
    pub(crate) const NEWCHAIN: u16 = NFTABLES | 3;
    pub(crate) const GETCHAIN: u16 = NFTABLES | 4;
    pub(crate) const DELCHAIN: u16 = NFTABLES | 5;
    pub(crate) const NEWRULE: u16 = NFTABLES | 6;
    pub(crate) const GETRULE: u16 = NFTABLES | 7;
    pub(crate) const DELRULE: u16 = NFTABLES | 8;
    pub(crate) const NEWSET: u16 = NFTABLES | 9;
    pub(crate) const GETSET: u16 = NFTABLES | 10;
    pub(crate) const DELSET: u16 = NFTABLES | 11;
    pub(crate) const NEWSETELEM: u16 = NFTABLES | 12;
    pub(crate) const GETSETELEM: u16 = NFTABLES | 13;
    pub(crate) const DELSETELEM: u16 = NFTABLES | 14;
    pub(crate) const NEWGEN: u16 = NFTABLES | 15;
    pub(crate) const GETGEN: u16 = NFTABLES | 16;
    /// Since Linux 6.3.
    pub(crate) const DESTROYSETELEM: u16 = NFTABLES | 30;
}

/// `NFNL_SUBSYS_NFTABLES`, the resource id of a batch.
pub(super) const SUBSYS_NFTABLES: u16 = 10;
/// `NFTA_LIST_ELEM`: one entry of a nested list.
pub(super) const LIST_ELEM: u16 = 1;

pub(super) mod batch {
    /// `NFNL_BATCH_GENID`: the batch is for this generation only.
    pub(crate) const GENERATION: u16 = 1;
}

/// `NFNLGRP_NFTABLES`, the multicast group that hears of every commit.
pub(super) const GROUP: u32 = 7;

pub(super) mod gen_id {
    pub(crate) const ID: u16 = 1;
    /// The thread that committed (`NFTA_GEN_PROC_PID`).
    pub(crate) const PID: u16 = 2;
    /// Its name (`NFTA_GEN_PROC_NAME`).
    pub(crate) const NAME: u16 = 3;
}

pub(super) mod table {
    pub(crate) const NAME: u16 = 1;
    pub(crate) const FLAGS: u16 = 2;
    /// The port of the socket that owns it (`NFTA_TABLE_OWNER`).
    pub(crate) const OWNER: u16 = 7;

    /// `NFT_TABLE_F_OWNER`, since Linux 5.12: only the socket that made it may change it.
    pub(crate) const F_OWNER: u32 = 0x2;
    /// `NFT_TABLE_F_PERSIST`, since Linux 6.9: it outlives that socket, and the next may own it.
    pub(crate) const F_PERSIST: u32 = 0x4;
}

pub(super) mod chain {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 3;
    pub(crate) const HOOK: u16 = 4;
    pub(crate) const POLICY: u16 = 5;
    pub(crate) const TYPE: u16 = 7;
    pub(crate) const HOOK_HOOKNUM: u16 = 1;
    pub(crate) const HOOK_PRIORITY: u16 = 2;
}

pub(super) mod rule {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const CHAIN: u16 = 2;
    pub(crate) const HANDLE: u16 = 3;
    pub(crate) const EXPRESSIONS: u16 = 4;
    pub(crate) const USERDATA: u16 = 7;
}

pub(super) mod set {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const KEY_TYPE: u16 = 4;
    pub(crate) const KEY_LEN: u16 = 5;
    pub(crate) const DATA_TYPE: u16 = 6;
    pub(crate) const DATA_LEN: u16 = 7;
    pub(crate) const DESC: u16 = 9;
    pub(crate) const ID: u16 = 10;
    pub(crate) const USERDATA: u16 = 13;
    pub(crate) const DESC_SIZE: u16 = 1;
    pub(crate) const DESC_CONCAT: u16 = 2;
    pub(crate) const FIELD_LEN: u16 = 1;

    pub(crate) const ANONYMOUS: u32 = 0x1;
    pub(crate) const CONSTANT: u32 = 0x2;
    pub(crate) const INTERVAL: u32 = 0x4;
    pub(crate) const MAP: u32 = 0x8;
    pub(crate) const TIMEOUT: u32 = 0x10;
    pub(crate) const EVAL: u32 = 0x20;
    pub(crate) const CONCAT: u32 = 0x80;

    /// `NFT_DATA_VERDICT`: the data type of a verdict map.
    pub(crate) const DATA_VERDICT: u32 = 0xffff_ff00;
}

pub(super) mod elem {
    pub(crate) const LIST_TABLE: u16 = 1;
    pub(crate) const LIST_SET: u16 = 2;
    pub(crate) const LIST_ELEMENTS: u16 = 3;
    pub(crate) const LIST_SET_ID: u16 = 4;
    pub(crate) const KEY: u16 = 1;
    pub(crate) const DATA: u16 = 2;
    pub(crate) const KEY_END: u16 = 10;
}

pub(super) mod data {
    pub(crate) const VALUE: u16 = 1;
    pub(crate) const VERDICT: u16 = 2;
    pub(crate) const VERDICT_CODE: u16 = 1;
    pub(crate) const VERDICT_CHAIN: u16 = 2;

    pub(crate) const DROP: i32 = 0;
    pub(crate) const ACCEPT: i32 = 1;
    pub(crate) const JUMP: i32 = -3;
    pub(crate) const GOTO: i32 = -4;
    pub(crate) const RETURN: i32 = -5;
}

pub(super) mod expr {
    pub(crate) const NAME: u16 = 1;
    pub(crate) const DATA: u16 = 2;
}

pub(super) mod immediate {
    pub(crate) const DREG: u16 = 1;
    pub(crate) const DATA: u16 = 2;
}

pub(super) mod payload {
    pub(crate) const DREG: u16 = 1;
    pub(crate) const BASE: u16 = 2;
    pub(crate) const OFFSET: u16 = 3;
    pub(crate) const LEN: u16 = 4;
    pub(crate) const NETWORK_HEADER: u32 = 1;
    pub(crate) const TRANSPORT_HEADER: u32 = 2;
}

pub(super) mod meta {
    pub(crate) const DREG: u16 = 1;
    pub(crate) const KEY: u16 = 2;
    pub(crate) const SREG: u16 = 3;
    pub(crate) const IIFNAME: u32 = 6;
    pub(crate) const NFTRACE: u32 = 12;
    pub(crate) const L4PROTO: u32 = 16;
}

pub(super) mod ct {
    pub(crate) const DREG: u16 = 1;
    pub(crate) const KEY: u16 = 2;
    pub(crate) const DIRECTION: u16 = 3;
    pub(crate) const SREG: u16 = 4;
    pub(crate) const ORIGINAL: u8 = 0;
    pub(crate) const STATE: u32 = 0;
    pub(crate) const STATUS: u32 = 2;
    pub(crate) const PROTO_SRC: u32 = 11;
    pub(crate) const PROTO_DST: u32 = 12;
    pub(crate) const SRC_IP: u32 = 19;
    pub(crate) const DST_IP: u32 = 20;
    pub(crate) const SRC_IP6: u32 = 21;
    pub(crate) const DST_IP6: u32 = 22;
    pub(crate) const EVENT_MASK: u32 = 18;
    /// Bit of `IPCT_DESTROY` of `nf_conntrack_common.h`.
    pub(crate) const DESTROY: u32 = 1 << 2;
    /// `IPS_DST_NAT` of `nf_conntrack_common.h`.
    pub(crate) const DST_NAT: u32 = 0x20;
    /// `NF_CT_STATE_INVALID_BIT` of `nf_conntrack_common.h`.
    pub(crate) const INVALID: u32 = 1;
}

pub(super) mod fib {
    pub(crate) const DREG: u16 = 1;
    pub(crate) const RESULT: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const ADDRTYPE: u32 = 3;
    pub(crate) const SADDR: u32 = 1;
    pub(crate) const DADDR: u32 = 2;
    /// `RTN_LOCAL` of `linux/rtnetlink.h`.
    pub(crate) const LOCAL: u32 = 2;
}

pub(super) mod numgen {
    pub(crate) const DREG: u16 = 1;
    pub(crate) const MODULUS: u16 = 2;
    pub(crate) const TYPE: u16 = 3;
    pub(crate) const OFFSET: u16 = 4;
    pub(crate) const RANDOM: u32 = 1;
}

pub(super) mod hash {
    pub(crate) const SREG: u16 = 1;
    pub(crate) const DREG: u16 = 2;
    pub(crate) const LEN: u16 = 3;
    pub(crate) const MODULUS: u16 = 4;
    pub(crate) const SEED: u16 = 5;
    pub(crate) const TYPE: u16 = 7;
    pub(crate) const JENKINS: u32 = 0;
}

pub(super) mod cmp {
    pub(crate) const SREG: u16 = 1;
    pub(crate) const OP: u16 = 2;
    pub(crate) const DATA: u16 = 3;
    pub(crate) const EQ: u32 = 0;
    pub(crate) const NEQ: u32 = 1;
}

pub(super) mod bitwise {
    pub(crate) const SREG: u16 = 1;
    pub(crate) const DREG: u16 = 2;
    pub(crate) const LEN: u16 = 3;
    pub(crate) const MASK: u16 = 4;
    pub(crate) const XOR: u16 = 5;
}

pub(super) mod lookup {
    pub(crate) const SET: u16 = 1;
    pub(crate) const SREG: u16 = 2;
    pub(crate) const DREG: u16 = 3;
    pub(crate) const SET_ID: u16 = 4;
}

pub(super) mod dynset {
    pub(crate) const SET_NAME: u16 = 1;
    pub(crate) const OP: u16 = 3;
    pub(crate) const SREG_KEY: u16 = 4;
    pub(crate) const SREG_DATA: u16 = 5;
    pub(crate) const TIMEOUT: u16 = 6;
    pub(crate) const UPDATE: u32 = 1;
}

pub(super) mod nat {
    pub(crate) const TYPE: u16 = 1;
    pub(crate) const FAMILY: u16 = 2;
    pub(crate) const REG_ADDR_MIN: u16 = 3;
    pub(crate) const REG_PROTO_MIN: u16 = 5;
    pub(crate) const FLAGS: u16 = 7;
    pub(crate) const DNAT: u32 = 1;
    /// `NF_NAT_RANGE_PROTO_SPECIFIED`.
    pub(crate) const PROTO_SPECIFIED: u32 = 2;
}

pub(super) mod masq {
    pub(crate) const FLAGS: u16 = 1;
    /// `NF_NAT_RANGE_PROTO_RANDOM_FULLY` of `linux/netfilter/nf_nat.h`.
    pub(crate) const FULLY_RANDOM: u32 = 0x10;
}

pub(super) mod reject {
    pub(crate) const TYPE: u16 = 1;
    pub(crate) const ICMP_CODE: u16 = 2;
    pub(crate) const ICMP_UNREACH: u32 = 0;
    /// `NFT_REJECT_TCP_RST` of `nf_tables.h`.
    pub(crate) const TCP_RST: u32 = 1;
    /// `ICMP_PORT_UNREACH` of `linux/icmp.h`.
    pub(crate) const PORT_V4: u8 = 3;
    /// `ICMPV6_PORT_UNREACH` of `linux/icmpv6.h`.
    pub(crate) const PORT_V6: u8 = 4;
}
