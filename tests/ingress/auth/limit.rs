// SPDX-License-Identifier: Apache-2.0
use super::{World, request};
use crate::rig::{Client, eventually};

/// The statuses of so many requests at once, on as many connections: of all threads.
fn burst(world: &World, name: &str, count: usize) -> Vec<u16> {
    let mut clients: Vec<Client> = (0..count).map(|_| world.connect()).collect();
    for client in &mut clients {
        client.send(request(name, "/", &[]));
    }
    let answers = clients.iter_mut().map(|client| client.answer(false).status);
    answers.collect()
}

fn count(statuses: &[u16], status: u16) -> usize {
    statuses.iter().filter(|one| **one == status).count()
}

#[test]
fn a_burst_is_let_in_and_the_rest_is_refused() {
    let Some(mut world) = World::new() else {
        return;
    };
    // One a minute: none is let in again while the test runs.
    world.ingress("a", &[("limit-rpm", "1"), ("limit-burst-multiplier", "20")]);
    world.ingress("seconds", &[("limit-rps", "1000")]);
    world.ingress(
        "exempt",
        &[("limit-rpm", "1"), ("limit-whitelist", "127.0.0.0/8")],
    );
    world.ingress("malformed", &[("limit-rps", "many")]);
    world.start();
    let statuses = burst(&world, "a", 60);
    // 166/10 thousandths a second: at most one more in a minute.
    let good = count(&statuses, 200);
    assert!((21..=22).contains(&good), "{statuses:?}");
    assert_eq!(count(&statuses, 503), 60 - good, "{statuses:?}");
    assert_eq!(count(&burst(&world, "seconds", 60), 200), 60);
    assert_eq!(count(&burst(&world, "exempt", 60), 200), 60);
    assert_eq!(world.status("malformed"), 503);
    // Another status, by the ConfigMap; what has been counted stays counted.
    world.settings(&[("limit-req-status-code", "429")]);
    eventually("the status is another", || world.status("a") == 429);
    assert_eq!(count(&burst(&world, "a", 10), 429), 10);
}

#[test]
fn requests_under_way_are_limited_for_each_client() {
    let Some(mut world) = World::new() else {
        return;
    };
    world.settings(&[("limit-conn-status-code", "429")]);
    world.ingress("a", &[("limit-connections", "3")]);
    world.start();
    // Their bodies do not come whole: they stay under way, and 100 says that they are.
    let slow = || {
        let head =
            "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nExpect: 100-continue";
        let mut client = world.connect();
        client.send(format!("{head}\r\n\r\n"));
        assert_eq!(client.answer(false).status, 100);
        client.send("12");
        client
    };
    let mut held: Vec<Client> = (0..3).map(|_| slow()).collect();
    assert_eq!(world.status("a"), 429);
    for client in &mut held {
        client.send("345");
        assert_eq!(client.answer(false).status, 200);
    }
    eventually("none is under way", || world.status("a") == 200);
    assert_eq!(world.status("a"), 200);
    drop((slow(), slow(), slow()));
    eventually("who has gone does not count", || world.status("a") == 200);
}

#[test]
fn clients_behind_a_trusted_proxy_are_counted_apart() {
    let Some(mut world) = World::new() else {
        return;
    };
    world.settings(&[
        ("use-forwarded-headers", "true"),
        ("proxy-real-ip-cidr", "127.0.0.0/8"),
    ]);
    world.ingress("a", &[("limit-rpm", "1"), ("limit-burst-multiplier", "0")]);
    world.start();
    let status = |address: &str| {
        let line = format!("X-Forwarded-For: {address}");
        world.get("a", "/", &[&line]).status
    };
    let clients = ["192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1"];
    assert_eq!(clients.map(status), [200, 200, 503, 200]);
}
