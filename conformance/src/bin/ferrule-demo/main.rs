// SPDX-License-Identifier: Apache-2.0
//! Shows ferrule's main job on this machine: three nodes, pods and a client outside as network
//! namespaces, real servers, one ferrule per node, and real connections.

mod ingress;
mod manifest;
mod scale;
mod table;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use ferrule_conformance::cases::cluster_cidr_flags;
use ferrule_conformance::cluster::Cluster;
use ferrule_conformance::netns::{Layout, Namespace};
use ferrule_conformance::{agent, interrupt};

fn main() -> ExitCode {
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("ferrule-demo: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<()> {
    interrupt::clean_up()?;
    if !nix::unistd::geteuid().is_root() {
        anyhow::bail!("needs root, to make network namespaces (sudo make demo)");
    }
    Namespace::new("probe").context("network namespaces")?;
    let program = agent::binary()?;
    println!("ferrule demo. Everything happens in network namespaces of this machine, which");
    println!("are gone afterwards. Program: {}\n", program.display());
    let mut cluster = build()?;
    start(&mut cluster)?;
    table::show(&cluster)?;
    scale::show(&cluster)?;
    println!();
    ingress::show(&cluster)?;
    let begun = Instant::now();
    drop(cluster);
    println!("\nCleaned up in {} ms.", begun.elapsed().as_millis());
    Ok(())
}

fn step(number: u8, text: &str) {
    println!("{number}. {text}");
}

fn build() -> Result<Cluster> {
    let begun = Instant::now();
    let cluster = Cluster::build(&Layout::default())?;
    step(
        1,
        "Nodes, pods and a client outside, IPv4 and IPv6, a server in each pod:",
    );
    println!("   node-1 172.30.0.11    pods 1a 10.244.1.10, 1b 10.244.1.11");
    println!("   node-2 172.30.0.12    pods 2a 10.244.2.10, 2b 10.244.2.11");
    println!("   node-3 172.30.0.13    pods 3a 10.244.3.10, 3b 10.244.3.11");
    println!("   client 192.168.30.100 routes Services' outside addresses to node-1");
    println!("   built in {} ms\n", begun.elapsed().as_millis());
    Ok(cluster)
}

fn start(cluster: &mut Cluster) -> Result<()> {
    manifest::write(cluster, &manifest::SHOP, manifest::SHOP.endpoints)?;
    manifest::write(cluster, &manifest::VAULT, manifest::VAULT.endpoints)?;
    step(
        2,
        "One ferrule per node, all reading the same directory of manifests:",
    );
    println!("   {}", cluster.manifests().display());
    for service in [&manifest::SHOP, &manifest::VAULT] {
        println!("   {:<6}{}", service.name, service.about);
        println!("         {}", service.addresses);
    }
    let begun = Instant::now();
    cluster.start_agents(&cluster_cidr_flags())?;
    println!(
        "   started; traffic flows after {} ms\n",
        begun.elapsed().as_millis()
    );
    Ok(())
}
