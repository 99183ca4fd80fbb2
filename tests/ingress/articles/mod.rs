// SPDX-License-Identifier: Apache-2.0
//! The YAML of articles about Ingress, from end to end: each row is a file in `articles/`, served by
//! the whole program with ingress-nginx's flags and class. docs/ingress-nginx.md lists them.

mod rows;
mod site;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::rows::{ROWS, Row};
use self::site::Site;
use super::rig::own_address;

#[test]
fn every_shape_of_the_articles_works() {
    let Some(own) = own_address() else { return };
    let site = Site::start(own, ROWS.iter().map(|row| row.yaml));
    let fails = |row: &&Row| catch_unwind(AssertUnwindSafe(|| (row.check)(&site))).is_err();
    let wrong: Vec<_> = ROWS.iter().filter(fails).map(|row| row.name).collect();
    assert!(wrong.is_empty(), "these do not work: {wrong:?}");
}

/// The documentation names every row.
#[test]
fn rows_are_listed() {
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
