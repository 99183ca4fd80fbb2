#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Says what this machine lacks, all of it at once, each with what to do about it.
#
#   preflight.sh packages    Debian packages that are missing, one per line
#   preflight.sh build       what build.sh needs
#   preflight.sh up          what up.sh needs
#
# Uses nothing but bash before it knows what there is. PROC, SYS and CNI_BIN are for tests.
set -uo pipefail
HERE=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
PROC=${PROC:-/proc}
SYS=${SYS:-/sys}
CNI_BIN=${CNI_BIN:-/usr/lib/cni}
PROBLEMS=()
PACKAGES=()

problem() { PROBLEMS+=("$1"); }

# package COMMAND PACKAGE: the command, or the file if it has a slash, comes with the package.
package() {
    case $1 in
        */*) [ -e "$1" ] && return ;;
        *) command -v "$1" >/dev/null && return ;;
    esac
    case " ${PACKAGES[*]-} " in *" $2 "*) ;; *) PACKAGES+=("$2") ;; esac
}

# What the machines run, and what the specs call inside agnhost's image.
note_packages() {
    package etcd etcd-server
    package runc runc
    package "$CNI_BIN/ptp" containernetworking-plugins
    package ip iproute2
    package ss iproute2
    package nft nftables
    package iptables iptables
    package conntrack conntrack
    package openssl openssl
    package nsenter util-linux
    package mount mount
    package pgrep procps
    package hostname hostname
    package busybox busybox
    package dash dash
    package wget wget
    package curl curl
    package nc.openbsd netcat-openbsd
    package dig bind9-dnsutils
    package host bind9-host
    package getent libc-bin
    package tar tar
}

check_root() {
    [ "$EUID" -eq 0 ] || problem "not root: namespaces, mounts and cgroups need it (sudo -E make ...)"
}

check_packages() {
    note_packages
    [ ${#PACKAGES[@]} -eq 0 ] ||
        problem "missing Debian packages: ${PACKAGES[*]} (make cluster-setup installs them)"
}

# has_word WORD FILE: whether a line of the file ends with the word, or is in its last column.
has_word() {
    local line
    [ -r "$2" ] || return 1
    while read -r line; do
        case " ${line//$'\t'/ } " in *" $1 "*) return 0 ;; esac
    done <"$2"
    return 1
}

check_overlay() {
    has_word overlay "$PROC/filesystems" && return
    if command -v modprobe >/dev/null && modprobe overlay 2>/dev/null; then return; fi
    problem "the kernel has no overlayfs (CONFIG_OVERLAY_FS), which containers' file systems are"
}

# Controllers are the first word of a line in /proc/cgroups, "enabled" the last; with the
# unified hierarchy they are in cgroup.controllers.
check_cgroups() {
    local controller wanted=(cpu cpuset cpuacct memory pids devices) enabled=" " name flag
    if [ -r "$SYS/fs/cgroup/cgroup.controllers" ]; then
        wanted=(cpu cpuset memory pids)
        read -r enabled <"$SYS/fs/cgroup/cgroup.controllers"
    elif [ -r "$PROC/cgroups" ]; then
        while read -r name _ _ flag; do
            if [ "$flag" = 1 ] && [ -d "$SYS/fs/cgroup/$name" ]; then enabled+="$name "; fi
        done <"$PROC/cgroups"
    fi
    for controller in "${wanted[@]}"; do
        case " $enabled " in
            *" $controller "*) ;;
            *) problem "cgroup controller $controller is not mounted below $SYS/fs/cgroup: kubelet needs it" ;;
        esac
    done
}

# Kernel objects that a test of their own shows; without root or ip they cannot be tried.
check_kernel() {
    local kind name=ferrule-pre-$$
    [ "$EUID" -eq 0 ] && command -v ip >/dev/null && command -v nft >/dev/null || return 0
    if ! ip netns add "$name" 2>/dev/null; then
        problem "cannot make a network namespace (CONFIG_NET_NS, or not allowed in this container)"
        return
    fi
    for kind in bridge veth; do
        ip -n "$name" link add "fpre-$kind" type "$kind" 2>/dev/null ||
            problem "the kernel has no interfaces of type $kind"
    done
    ip netns exec "$name" nft add table ip ferrule-preflight 2>/dev/null ||
        problem "the kernel has no nftables (CONFIG_NF_TABLES)"
    ip netns del "$name"
}

check_go() {
    local minimum="" line
    while read -r line; do
        case $line in "go "*) minimum=${line#go } ;; esac
    done <"$HERE/go/go.mod"
    if ! command -v go >/dev/null; then
        problem "no go: install Go $minimum or newer, https://go.dev/dl (Debian's is too old)"
        return
    fi
    if ! line=$(cd "$HERE/go" && go list -m 2>&1); then
        problem "go does not take go.mod, which needs Go $minimum or newer: ${line##*$'\n'}"
        return
    fi
    check_modules
}

# Whether the Go modules are here, or can be fetched.
check_modules() {
    local out proxy
    [ -n "$(cd "$HERE/go" && go list -m -f '{{.Dir}}' k8s.io/kubernetes 2>/dev/null)" ] && return
    out=$(cd "$HERE/go" && go mod download k8s.io/kubernetes 2>&1) && return
    proxy=$(go env GOPROXY)
    problem "Go modules cannot be fetched from GOPROXY=$proxy: ${out%%$'\n'*} (set GOPROXY to one that can be reached)"
}

case ${1:-} in
    packages)
        note_packages
        [ ${#PACKAGES[@]} -eq 0 ] || printf '%s\n' "${PACKAGES[@]}"
        exit 0
        ;;
    build)
        check_packages
        check_go
        ;;
    up)
        check_root
        check_packages
        check_overlay
        check_cgroups
        check_kernel
        ;;
    *)
        echo "usage: preflight.sh packages|build|up" >&2
        exit 2
        ;;
esac
[ ${#PROBLEMS[@]} -gt 0 ] || exit 0
printf 'error: %s\n' "${PROBLEMS[@]}" >&2
exit 1
