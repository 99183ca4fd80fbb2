// SPDX-License-Identifier: Apache-2.0
//! Asks kube-proxy, or reads what it once answered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::effective::leaves;

const CASES: &str = include_str!("../testdata/cases.txt");
const RECORDED: &str = "src/config/testdata/recorded.json";
/// What a leaf that is not there has for a value in the recording.
const NONE: &str = "(none)";

/// A command line, possibly with a file.
pub(super) struct Case {
    name: String,
    flags: Vec<String>,
    pub(super) text: Option<String>,
}

/// What kube-proxy says to a case.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Answer {
    /// What it writes, where that differs from the defaults.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) config: Option<Map<String, Value>>,
    /// The fields that it finds wrong.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub(super) errors: BTreeSet<String>,
    /// Why it refuses, where it names no field.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(super) refused: String,
    /// Its flags, where they differ from the defaults.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) flags: Option<BTreeMap<String, String>>,
    /// All that it writes; only of the defaults.
    #[serde(skip_serializing_if = "Value::is_null", default)]
    pub(super) full: Value,
}

#[derive(Serialize, Deserialize)]
struct File {
    made_by: String,
    version: String,
    defaults: Answer,
    answers: BTreeMap<String, Answer>,
}

pub(super) struct Recording {
    pub(super) defaults: Answer,
    pub(super) answers: Vec<(Case, Answer)>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Case {
    fn parse(line: &str) -> Self {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (flags, body) = match kind {
            "flag" => (rest, None),
            "file" => ("", Some(rest)),
            "both" => rest
                .split_once(" | ")
                .map(|(f, b)| (f, Some(b)))
                .expect("FLAGS | YAML"),
            _ => panic!("{line}: begins with neither flag, file nor both"),
        };
        let flags = flags
            .split_whitespace()
            .map(|flag| flag.replace("%20", " "));
        Self {
            name: line.to_owned(),
            flags: flags.collect(),
            text: body.map(|body| format!("{}{}\n", super::HEAD, body.replace("\\n", "\n"))),
        }
    }

    /// The command line as the recording was made, but for files' names.
    pub(super) fn argv(&self, program: &str) -> Vec<String> {
        let mut argv = vec![program.to_owned()];
        argv.extend(self.text.iter().map(|_| "--config=c".to_owned()));
        argv.extend(self.flags.iter().cloned());
        argv
    }

    pub(super) fn has_flag(&self, flag: &str) -> bool {
        let name = |given: &String| given.split('=').next() == Some(flag);
        self.flags.iter().any(name)
    }

    /// Whether a field is named by its flag.
    pub(super) fn overrides(&self, flag: &str) -> bool {
        self.text.is_none() || self.has_flag(flag)
    }

    /// The mode that is asked for, by its section.
    pub(super) fn mode(&self) -> &'static str {
        let whole = format!(
            "{}\n{}\n",
            self.flags.join("\n"),
            self.text.as_deref().unwrap_or("")
        );
        let last = |word: &str| {
            whole
                .rfind(&format!("mode: {word}\n"))
                .or(whole.rfind(&format!("--proxy-mode={word}\n")))
        };
        match (last("nftables"), last("ipvs")) {
            (Some(_), _) if self.text.is_none() || whole.contains("mode: nftables") => "nftables",
            (_, Some(_)) => "ipvs",
            _ => "iptables",
        }
    }
}

fn cases() -> Vec<Case> {
    let lines = CASES.lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(Case::parse).collect()
}

/// The files of all cases.
pub(super) fn texts() -> Vec<String> {
    cases().into_iter().filter_map(|case| case.text).collect()
}

/// The recording; made anew where `FERRULE_RECORD` names a kube-proxy.
pub(super) fn recording() -> Recording {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORDED);
    let cases = cases();
    if let Some(program) = std::env::var_os("FERRULE_RECORD") {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| record(Path::new(&program), &cases, &path));
    }
    let text = std::fs::read_to_string(&path).expect("recorded.json");
    let mut file: File = serde_json::from_str(&text).expect("recorded.json");
    let answer = |case: Case| {
        let answer = file.answers.remove(&case.name);
        let answer = answer.unwrap_or_else(|| panic!("{case} is not recorded"));
        (case, answer)
    };
    let answers = cases.into_iter().map(answer).collect();
    assert!(file.answers.is_empty(), "{:?}", file.answers.keys());
    Recording {
        defaults: file.defaults,
        answers,
    }
}

fn record(program: &Path, cases: &[Case], to: &Path) {
    let version = Command::new(program)
        .arg("--version")
        .output()
        .expect("a kube-proxy");
    let defaults = ask(program, &Case::parse("flag"));
    let answer = |case: &Case| (case.name.clone(), shortened(ask(program, case), &defaults));
    let answers = cases.iter().map(answer).collect();
    let file = File {
        made_by: "FERRULE_RECORD=/path/to/kube-proxy cargo test -p ferrule --lib recorded; \
                  runs kube-proxy --write-config-to for each case of cases.txt, and once more with \
                  -v=1 for its flags"
            .to_owned(),
        version: String::from_utf8_lossy(&version.stdout).trim().to_owned(),
        answers,
        defaults,
    };
    let text = serde_json::to_string_pretty(&file).expect("JSON");
    std::fs::write(to, text + "\n").expect("written");
}

fn ask(program: &Path, case: &Case) -> Answer {
    let dir = tempfile::tempdir().expect("a directory");
    let (config, written) = (dir.path().join("config"), dir.path().join("written"));
    let run = |more: &[&str]| {
        let mut command = Command::new(program);
        if let Some(text) = &case.text {
            std::fs::write(&config, text).expect("written");
            command.arg("--config").arg(&config);
        }
        command
            .args(&case.flags)
            .args(more)
            .arg("--write-config-to")
            .arg(&written);
        let output = command.output().expect("kube-proxy runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = run(&[]);
    let mut answer = Answer::default();
    match std::fs::read_to_string(&written) {
        Ok(text) => {
            answer.full = serde_saphyr::from_str(&text).expect("YAML of kube-proxy");
            read_back(program, &text, &answer.full, dir.path().join("again"));
        }
        Err(_) => {
            answer.errors = fields(&said);
            let line = said
                .lines()
                .find(|l| l.contains("err=") || l.contains("rror:"));
            let reason = line.and_then(|l| l.split("err=").last()).unwrap_or(&said);
            answer.refused = reason.lines().next().unwrap_or_default().to_owned();
        }
    }
    answer.flags = flags(&run(&["-v=1"]));
    answer
}

/// kube-proxy has to understand what we write, and as we mean it.
fn read_back(program: &Path, theirs: &str, value: &Value, path: PathBuf) {
    let ours = serde_saphyr::to_string(value).expect("YAML of ours");
    let written = path.with_extension("yaml");
    let once = |text: &str| {
        std::fs::write(&path, text).expect("written");
        let mut command = Command::new(program);
        command
            .arg("--config")
            .arg(&path)
            .arg("--write-config-to")
            .arg(&written);
        let output = command.output().expect("kube-proxy runs");
        assert!(
            output.status.success(),
            "{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        std::fs::read_to_string(&written).expect("written")
    };
    assert_eq!(once(&ours), once(theirs), "{ours}");
}

/// `KubeProxyConfiguration.A.B[1]: Invalid value: …, …`
fn fields(said: &str) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    for kind in [
        "Invalid value",
        "Unsupported value",
        "Required value",
        "Forbidden",
    ] {
        for (at, _) in said.match_indices(&format!(": {kind}")) {
            let start = said[..at]
                .rfind(|c: char| !c.is_ascii_alphanumeric() && !".[]".contains(c))
                .map_or(0, |i| i + 1);
            let path = said[start..at].trim_start_matches('[');
            let name = path.strip_prefix("KubeProxyConfiguration.").unwrap_or(path);
            if name != "showHiddenMetricsForVersion" {
                fields.insert(name.to_owned());
            }
        }
    }
    fields
}

/// `FLAG: --name="value"`; those that this recording itself sets are left out.
fn flags(said: &str) -> Option<BTreeMap<String, String>> {
    let flag = |line: &str| {
        let (name, value) = line.split_once("FLAG: --")?.1.split_once("=\"")?;
        Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
    };
    let mut flags: BTreeMap<_, _> = said.lines().filter_map(flag).collect();
    flags.retain(|name, _| !["v", "config", "write-config-to"].contains(&name.as_str()));
    (!flags.is_empty()).then_some(flags)
}

/// Only what differs from the defaults.
fn shortened(mut answer: Answer, defaults: &Answer) -> Answer {
    let full = std::mem::take(&mut answer.full);
    if !full.is_null() {
        let (now, before) = (leaves(&full), leaves(&defaults.full));
        let paths = before.keys().chain(now.keys());
        let differ = paths.filter(|path| now.get(*path) != before.get(*path));
        let value = |path: &String| now.get(path).map_or(NONE.into(), |v| (*v).clone());
        answer.config = Some(differ.map(|path| (path.clone(), value(path))).collect());
    }
    let known = defaults.flags.as_ref();
    if let (Some(flags), Some(known)) = (&mut answer.flags, known) {
        flags.retain(|name, value| known.get(name) != Some(value));
    }
    answer
}
