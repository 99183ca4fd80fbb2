// SPDX-License-Identifier: Apache-2.0
//! The Ingress sidecar's data side, with real sockets: a server in this process, endpoints and
//! clients on loopback.

mod answers;
mod articles;
mod auth;
mod behaviour;
mod canary;
mod choosing;
mod elsewhere;
mod frames;
mod grpc;
mod h2_clients;
mod hand_on;
mod hand_over;
mod hostile_h2;
mod lint;
mod nginx;
mod origin;
mod pass;
mod program;
mod resolver;
mod rig;
mod sessions;
mod settings;
mod speech;
mod time;
mod tls;
mod upgrade;
mod wall;
mod websocket;
mod whole;
mod world;
