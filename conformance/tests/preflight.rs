// SPDX-License-Identifier: Apache-2.0
//! `conformance/cluster/preflight.sh` names what a machine lacks, without needing any of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const BASH: &str = "/bin/bash";

/// A machine made of files: what the script reads below PROC and SYS, and nothing on PATH.
struct Machine(tempfile::TempDir);

impl Machine {
    /// One that has overlayfs and, as version 1 mounts them, all controllers.
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        machine.write("proc/filesystems", "nodev\tproc\nnodev\toverlay\n\text4\n");
        let controllers = ["cpu", "cpuset", "cpuacct", "memory", "pids", "devices"];
        let lines: Vec<String> = controllers
            .iter()
            .map(|c| format!("{c}\t3\t1\t1\n"))
            .collect();
        let head = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n";
        machine.write("proc/cgroups", &format!("{head}{}", lines.concat()));
        for controller in controllers {
            fs::create_dir_all(machine.path(&format!("sys/fs/cgroup/{controller}"))).unwrap();
        }
        fs::create_dir_all(machine.path("bin")).unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("cluster")
            .join(name);
        Command::new(BASH)
            .arg(script)
            .args(arguments)
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("PROC", self.path("proc"))
            .env("SYS", self.path("sys"))
            .env("CNI_BIN", self.path("cni"))
            .output()
            .expect("bash")
    }

    /// What the script says is wrong, and that it ends as it should.
    fn preflight(&self, purpose: &str) -> String {
        let output = self.script("preflight.sh", &[purpose]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.lines().all(|l| l.starts_with("error: ")), "{text}");
        text
    }
}

#[test]
fn an_empty_path_names_the_debian_packages() {
    let text = Machine::new().preflight("up");
    let line = text
        .lines()
        .find(|l| l.contains("missing Debian packages"))
        .expect(&text);
    for package in [
        "etcd-server",
        "runc",
        "containernetworking-plugins",
        "iproute2",
        "nftables",
    ] {
        assert!(line.contains(&format!(" {package} ")), "{package}: {line}");
    }
    assert!(line.contains("make cluster-setup"), "{line}");
    assert!(
        !text.contains("overlayfs") && !text.contains("controller"),
        "{text}"
    );
}

#[test]
fn packages_are_listed_once_each() {
    let output = Machine::new().script("preflight.sh", &["packages"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut packages: Vec<&str> = text.lines().collect();
    assert!(packages.len() > 15, "{text}");
    packages.sort_unstable();
    let listed = packages.len();
    packages.dedup();
    assert_eq!(packages.len(), listed, "{text}");
}

#[test]
fn a_command_that_is_there_asks_for_no_package() {
    let machine = Machine::new();
    let before = machine.script("preflight.sh", &["packages"]).stdout;
    assert!(String::from_utf8(before).unwrap().contains("etcd-server"));
    std::os::unix::fs::symlink(BASH, machine.path("bin/etcd")).unwrap();
    let after = machine.script("preflight.sh", &["packages"]).stdout;
    assert!(!String::from_utf8(after).unwrap().contains("etcd-server"));
}

#[test]
fn a_kernel_without_overlayfs_is_told() {
    let machine = Machine::new();
    machine.write("proc/filesystems", "nodev\tproc\nnodev\toverlayer\n");
    let text = machine.preflight("up");
    assert!(text.contains("no overlayfs (CONFIG_OVERLAY_FS)"), "{text}");
}

#[test]
fn each_missing_controller_is_named() {
    let machine = Machine::new();
    machine.write("proc/cgroups", "cpu\t3\t1\t1\nmemory\t0\t1\t0\n");
    let text = machine.preflight("up");
    for controller in ["cpuset", "memory", "pids"] {
        assert!(
            text.contains(&format!("cgroup controller {controller} ")),
            "{text}"
        );
    }
    assert!(!text.contains("cgroup controller cpu "), "{text}");
}

#[test]
fn version_2_lists_controllers_in_one_file() {
    let machine = Machine::new();
    fs::remove_file(machine.path("proc/cgroups")).unwrap();
    machine.write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory\n");
    let text = machine.preflight("up");
    assert!(text.contains("cgroup controller pids "), "{text}");
    assert_eq!(text.matches("cgroup controller").count(), 1, "{text}");
}

#[test]
fn no_go_is_told_with_the_version_and_where_to_get_it() {
    let text = Machine::new().preflight("build");
    assert!(
        text.contains("no go: install Go 1.26.0 or newer, https://go.dev/dl"),
        "{text}"
    );
}

#[test]
fn modules_out_of_reach_name_the_proxy() {
    let machine = Machine::new();
    let go = "#!/bin/bash\ncase \"$*\" in\n\
              'mod download'*) echo 'dial tcp: connection refused' >&2; exit 1 ;;\n\
              'env GOPROXY') echo https://proxy.example ;;\nesac\n";
    machine.write("bin/go", go);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(machine.path("bin/go"), mode).unwrap();
    let text = machine.preflight("build");
    assert!(
        text.contains("GOPROXY=https://proxy.example: dial tcp: connection refused"),
        "{text}"
    );
}

/// Run by root as somebody else, who may not be able to read the source tree.
#[test]
fn only_root_may() {
    let machine = Machine::new();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(machine.0.path(), mode).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/preflight.sh");
    fs::copy(script, machine.path("preflight.sh")).unwrap();
    let mut command = Command::new(BASH);
    if nix::unistd::geteuid().is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups", BASH]);
    }
    let output = command
        .args([machine.path("preflight.sh"), "up".into()])
        .env("PROC", machine.path("proc"))
        .env("SYS", machine.path("sys"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("error: not root"), "{text}");
}

#[test]
fn an_unknown_purpose_is_refused() {
    let output = Machine::new().script("preflight.sh", &["fly"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn setup_without_apt_names_what_to_install() {
    let machine = Machine::new();
    std::os::unix::fs::symlink("/usr/bin/dirname", machine.path("bin/dirname")).unwrap();
    std::os::unix::fs::symlink(BASH, machine.path("bin/bash")).unwrap();
    let output = machine.script("setup.sh", &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("neither Debian nor Ubuntu"), "{text}");
    assert!(text.contains("etcd-server"), "{text}");
}
