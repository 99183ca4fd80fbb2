// SPDX-License-Identifier: Apache-2.0
//! Passwords are expensive: whoever tries many must not slow down anybody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{World, basic, request};
use crate::rig::{Client, eventually};

const BAD: usize = 200;

#[test]
fn who_tries_passwords_holds_up_nobody_else() {
    let Some(mut world) = World::new() else {
        return;
    };
    let hash = bcrypt::hash("secret", 12).unwrap();
    world.object("Secret", "users", &[("auth", &format!("anna:{hash}"))]);
    world.ingress("a", &[("auth-type", "basic"), ("auth-secret", "users")]);
    world.ingress("open", &[]);
    world.start();
    let good = basic("anna:secret");
    assert_eq!(world.get("a", "/", &[&good]).status, 200);
    let answered = Arc::new(AtomicUsize::new(0));
    let mut waiting = Vec::new();
    for n in 0..BAD {
        let mut client = world.connect();
        client.send(request("a", "/", &[&basic(&format!("anna:{n}"))]));
        client.stream.set_read_timeout(None).unwrap();
        let answered = answered.clone();
        waiting.push(std::thread::spawn(move || {
            let status = client.answer(false).status;
            answered.fetch_add(1, Ordering::SeqCst);
            status
        }));
    }
    // Each takes a fifth of a second and more: the first are not over before all have come.
    let mut client = world.connect();
    for _ in 0..BAD {
        assert_eq!(client.ask(request("open", "/", &[])).status, 200);
    }
    // Who was let in before is known, and does not wait behind them.
    for _ in 0..BAD {
        let mut client = Client::connect(world.http);
        assert_eq!(client.ask(request("a", "/", &[&good])).status, 200);
    }
    let done = answered.load(Ordering::SeqCst);
    println!(
        "{done} of {BAD} passwords were looked at while {} requests were served",
        2 * BAD
    );
    assert!(done < BAD / 2, "{done} of {BAD}");
    // Nobody waits for those who have gone.
    drop(world);
    eventually("they have an answer", || {
        answered.load(Ordering::SeqCst) == BAD
    });
    let statuses: Vec<u16> = waiting.into_iter().map(|one| one.join().unwrap()).collect();
    let odd = statuses.iter().find(|status| !matches!(status, 401 | 0));
    assert_eq!(odd, None, "{statuses:?}");
}
