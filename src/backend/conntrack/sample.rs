// SPDX-License-Identifier: Apache-2.0
//! Which flows are in a sample: nftables' `jhash` of the client's address and port. PURE.

use std::net::{IpAddr, SocketAddr};

/// Whether the kernel's `jhash ct original saddr . ct original proto-src mod one_in seed` is 0 for
/// a client.
pub fn in_sample(client: SocketAddr, one_in: u32, seed: u32) -> bool {
    let mut key = [0; 20];
    let address = match client.ip() {
        IpAddr::V4(address) => {
            key[..4].copy_from_slice(&address.octets());
            4
        }
        IpAddr::V6(address) => {
            key[..16].copy_from_slice(&address.octets());
            16
        }
    };
    key[address..address + 2].copy_from_slice(&client.port().to_be_bytes());
    scale(jhash(&key[..address + 4], seed), one_in) == 0
}

/// `reciprocal_scale` of `linux/reciprocal_div.h` (until 6.x `linux/kernel.h`).
fn scale(hash: u32, limit: u32) -> u32 {
    ((u64::from(hash) * u64::from(limit)) >> 32) as u32
}

/// `jhash` of `linux/jhash.h`: Bob Jenkins' lookup3.
fn jhash(key: &[u8], seed: u32) -> u32 {
    let start = 0xdead_beef_u32
        .wrapping_add(key.len() as u32)
        .wrapping_add(seed);
    let mut state = [start; 3];
    // The last twelve bytes, or fewer, are for the end.
    let whole = key.len().saturating_sub(1) / 12 * 12;
    let (blocks, tail) = key.split_at(whole);
    for block in blocks.chunks_exact(12) {
        add(&mut state, block, u32::from_ne_bytes);
        mix(&mut state);
    }
    if tail.is_empty() {
        return state[2];
    }
    let mut last = [0; 12];
    last[..tail.len()].copy_from_slice(tail);
    add(&mut state, &last, u32::from_le_bytes);
    finish(&mut state);
    state[2]
}

fn add(state: &mut [u32; 3], block: &[u8], word: fn([u8; 4]) -> u32) {
    for (sum, bytes) in state.iter_mut().zip(block.chunks_exact(4)) {
        let bytes = bytes.try_into().unwrap_or_default();
        *sum = sum.wrapping_add(word(bytes));
    }
}

/// `__jhash_mix`.
fn mix([a, b, c]: &mut [u32; 3]) {
    let turn = |x: &mut u32, y: &mut u32, z: &mut u32, by| {
        *x = x.wrapping_sub(*z) ^ z.rotate_left(by);
        *z = z.wrapping_add(*y);
    };
    turn(a, b, c, 4);
    turn(b, c, a, 6);
    turn(c, a, b, 8);
    turn(a, b, c, 16);
    turn(b, c, a, 19);
    turn(c, a, b, 4);
}

/// `__jhash_final`.
fn finish([a, b, c]: &mut [u32; 3]) {
    let turn = |x: &mut u32, y: u32, by| *x = (*x ^ y).wrapping_sub(y.rotate_left(by));
    turn(c, *b, 14);
    turn(a, *c, 11);
    turn(b, *a, 25);
    turn(c, *b, 16);
    turn(a, *c, 4);
    turn(b, *a, 14);
    turn(c, *b, 24);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tests/doctor/counted.rs` compares with the kernel's own choice.
    #[test]
    fn one_of_so_many_is_chosen_and_always_the_same() {
        for address in ["10.244.1.9", "fd00:10:244:1::9"] {
            let address: IpAddr = address.parse().unwrap();
            let chosen = |one_in| {
                let ports = 0..=u16::MAX;
                let inside = move |p: &u16| in_sample((address, *p).into(), one_in, 7);
                ports.filter(inside).collect::<Vec<_>>()
            };
            assert_eq!(chosen(1).len(), 65_536);
            let (four, sixteen) = (chosen(4), chosen(16));
            assert!((3_800..4_400).contains(&sixteen.len()), "{}", sixteen.len());
            // A rarer sample is a part of one that is less rare.
            assert!(sixteen.iter().all(|port| four.contains(port)));
        }
    }
}
