// SPDX-License-Identifier: Apache-2.0
//! A server that is away for an hour, and one that falls silent. Time is stopped: tokio jumps to
//! the next timer whenever nothing else is to be done.

use std::io;

use super::*;

/// How long the server is away.
const AWAY: Duration = Duration::from_secs(3600);
/// The most between two attempts: what docs/reliability.md promises.
const LONGEST: Duration = Duration::from_secs(30);

/// When each request came.
type Requests = Arc<Mutex<Vec<Instant>>>;

/// A server that lists Services, says no more, and is away from then on until `AWAY` is over. Then
/// it has another list.
fn away_for_an_hour(requests: Requests) -> kube::Client {
    let begun = Instant::now();
    let lists = Arc::new(Mutex::new(VecDeque::from([
        service("ADDED", "a", 1) + &service("ADDED", "b", 2) + &listed(3),
        service("ADDED", "b", 2) + &service("ADDED", "c", 4) + &listed(5) + "...",
    ])));
    let service = tower::service_fn(move |request: Request<Body>| {
        let mut seen = requests.lock().expect("no panic");
        seen.push(Instant::now());
        assert!(seen.len() < 2_000, "asked without a pause");
        let first = seen.len() == 1;
        let initial = request.uri().to_string().contains("sendInitialEvents=true");
        let lists = lists.clone();
        async move {
            if !first && begun.elapsed() < AWAY {
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            }
            // The version that the watch would go on from is an hour old.
            let text = match initial {
                true => lists.lock().expect("no panic").pop_front(),
                false => Some(status(410, "too old")),
            };
            let text = text.expect("no third list");
            let code = if initial { 200 } else { 410 };
            let (text, open) = match text.strip_suffix("...") {
                Some(text) => (text.to_owned(), true),
                None => (text, false),
            };
            let frame = Ok::<_, Infallible>(Frame::data(Bytes::from(text)));
            let rest = futures_util::stream::pending().take(usize::from(open));
            let body = StreamBody::new(futures_util::stream::iter([frame]).chain(rest));
            Ok(Response::builder().status(code).body(body).expect("valid"))
        }
    });
    kube::Client::new(service, "default")
}

/// Follows Services until so many events have come, and returns them with their times.
async fn follow_for(api: Api<Thin<Service>>, count: usize) -> Vec<(Duration, String)> {
    let (events, mut receiver) = mpsc::channel(1);
    let shared = Shared {
        events,
        unlisted: AtomicUsize::new(1),
        meters: Meters::default(),
        memory: Memory::new(None, Meters::default()),
    };
    let begun = Instant::now();
    let collected = async {
        let mut seen = Vec::new();
        while seen.len() < count {
            let event = short(&receiver.recv().await.expect("an event"));
            seen.push((begun.elapsed(), event));
        }
        seen
    };
    tokio::select! {
        Closed = follow::<Service>(api, "", "", Strategy::Streaming, &shared) => panic!("closed"),
        seen = collected => seen,
        () = sleep(3 * AWAY) => panic!("not enough events"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_server_that_is_away_for_an_hour_said_stays_until_it_says_otherwise() {
    let requests = Requests::default();
    let api = Api::all(away_for_an_hour(requests.clone()));
    let mut seen = follow_for(api, 8).await;
    let later = seen.split_off(4);
    let names = |events: &[(Duration, String)]| -> Vec<String> {
        events.iter().map(|(_, event)| event.clone()).collect()
    };
    let first = names(&seen);
    assert_eq!(first[..3], ["n/a", "n/b", "synced"]);
    assert!(first[3].starts_with("services: ") && first[3].contains("refused"));
    assert!(seen[3].0 < Duration::from_secs(1), "told at once, and once");
    assert!(later.iter().all(|(at, _)| *at >= AWAY), "{later:?}");
    assert!(later[0].0 < AWAY + 3 * LONGEST, "back soon: {later:?}");
    let mut differ = names(&later);
    differ.retain(|event| event != "services: ");
    assert_eq!(differ, ["n/b", "n/c", "n/a"], "the list, and what it lacks");
    let requests = requests.lock().expect("no panic");
    let away: Vec<Duration> = requests.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(away.iter().all(|pause| *pause <= LONGEST), "{away:?}");
    assert!(away.len() < 400, "{} attempts", away.len());
    let mut long = away[10..away.len() - 5].to_vec();
    long.dedup();
    assert!(long.len() > 50, "not all of the same length: {long:?}");
}

/// kube opens it anew after 295 s; the server ends it after 290 s, if it lives.
#[tokio::test(start_paused = true)]
async fn a_watch_that_says_nothing_more_is_opened_anew() {
    let start = "sendInitialEvents=true";
    let answers = vec![
        (start, 200, service("ADDED", "a", 1) + &listed(2) + "..."),
        ("resourceVersion=2", 200, service("DELETED", "a", 3) + "..."),
    ];
    let begun = Instant::now();
    let seen = events::<Service>(answers, 3).await;
    assert_eq!(seen, ["n/a", "synced", "n/a"]);
    let silent = begun.elapsed();
    assert!(silent < Duration::from_secs(300), "{silent:?}");
}
