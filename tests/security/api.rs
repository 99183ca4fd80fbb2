// SPDX-License-Identifier: Apache-2.0
//! What the agent asks an API server for: never for Secrets, nor anything else that it has no
//! right to.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::rig::{As, Program, in_namespace};

/// What its role allows, and the server's version, which everybody may read.
const ALLOWED: &[&str] = &[
    "endpointslices",
    "events",
    "nodes",
    "servicecidrs",
    "services",
    "version",
];

/// Answers everything with "not found", and notes the paths that are asked for.
fn server(listener: TcpListener, asked: Arc<Mutex<BTreeSet<String>>>) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, asked) = (stream.unwrap(), asked.clone());
            std::thread::spawn(move || converse(&stream, &asked));
        }
    });
}

fn converse(stream: &TcpStream, asked: &Mutex<BTreeSet<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut line) = (String::new(), String::new());
        reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        }
        let target = first.split(' ').nth(1)?.to_owned();
        asked.lock().unwrap().insert(target);
        let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}";
        (&mut &*stream).write_all(answer.as_bytes()).ok()?;
    }
}

#[test]
fn the_agent_asks_for_what_its_role_allows_and_for_no_secret() {
    in_namespace(|| {
        let listener = TcpListener::bind("127.0.0.1:6443").unwrap();
        let asked = Arc::new(Mutex::new(BTreeSet::new()));
        server(listener, asked.clone());
        for extra in [
            vec![],
            vec!["--localhost-nodeports", "--accounting", "--reset-stale-tcp"],
        ] {
            let mut arguments = vec!["--master=http://127.0.0.1:6443"];
            arguments.extend(extra);
            let mut agent = Program::agent(As::Root, &arguments);
            for kind in ["services", "endpointslices", "nodes"] {
                agent.until(kind, |_| {
                    asked.lock().unwrap().iter().any(|path| path.contains(kind))
                });
            }
            // All begin at once; what might come later comes in this time, or in the second round.
            std::thread::sleep(Duration::from_millis(500));
        }
        for target in asked.lock().unwrap().iter() {
            let path = target.split('?').next().unwrap();
            let resource = path.rsplit('/').next().unwrap();
            assert!(ALLOWED.contains(&resource), "{target}");
            assert!(!target.contains("secret"), "{target}");
        }
    });
}
