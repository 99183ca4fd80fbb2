// SPDX-License-Identifier: Apache-2.0
//! The YAML of articles about Ingress, from end to end: each row is a file in `articles/`, served by
//! the whole program with ingress-nginx's flags and class. docs/ingress-nginx.md lists them.

mod rows;
mod site;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::rows::{ROWS, Row};
use self::site::Site;
use super::rig::own_address;

/// What is not served yet, by the name in [`Row::needs`]; to be emptied. Such rows are asked all the
/// same, and told.
const PENDING: &[&str] = &[];

fn is_pending(row: &Row) -> bool {
    row.needs.iter().any(|need| PENDING.contains(need))
}

#[test]
fn every_shape_of_the_articles_works() {
    let Some(own) = own_address() else { return };
    let site = Site::start(own, ROWS.iter().map(|row| row.yaml));
    let (mut wrong, mut pending) = (Vec::new(), Vec::new());
    for row in ROWS {
        let result = catch_unwind(AssertUnwindSafe(|| (row.check)(&site)));
        let list = match (result.is_ok(), is_pending(row)) {
            (true, _) => continue,
            (false, true) => &mut pending,
            (false, false) => &mut wrong,
        };
        list.push(row.name);
    }
    let good = ROWS.len() - wrong.len() - pending.len();
    println!("{good} of {} rows work; pending: {pending:?}", ROWS.len());
    assert!(wrong.is_empty(), "these do not work: {wrong:?}");
}

/// What is not there is still pending for somebody, and the documentation names every row.
#[test]
fn rows_are_listed() {
    for need in PENDING {
        let used = ROWS.iter().any(|row| row.needs.contains(need));
        assert!(used, "{need}: no row needs it");
    }
    let page = include_str!("../../../docs/ingress-nginx.md");
    for row in ROWS {
        let line = format!("`{}.yaml`", row.name);
        let listed = page.lines().find(|text| text.contains(&line));
        let listed = listed.unwrap_or_else(|| panic!("{line} is not in the documentation"));
        assert!(
            listed.contains(row.articles),
            "{line}: not {}",
            row.articles
        );
    }
}
