#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a program as root in a virtual machine with a stock Debian kernel: one that has IPVS, SCTP
# and dummy links as modules. Its output and exit status are those of the program.
#
# Usage: conformance/guest/run.sh [OPTION...] -- PROGRAM [ARGUMENT...]
#   --with PATH       put a program (by name or path), file or directory of this machine into the
#                     guest, at the same path; programs bring the libraries that they need
#   --env NAME=VALUE  set a variable for the program
#   --without MODULE  leave a kernel module out, to see what happens then
#   --timeout SECONDS for everything, 600 unless told
#   --memory MIB      memory of the guest, 2048 unless told
#   --accel NAME      qemu's accelerator: tcg unless told (or GUEST_ACCEL)
#
# PROGRAM is put into the guest, too. It starts in /, with only what is named here and busybox,
# ipvsadm, ipset and iptables (nft) around it. Exit status: the program's; 124 after the time-out; 125 if the guest could not
# be built or died; 3 if it cannot be had on this machine at all (no qemu, no network).
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
TARGET=${CARGO_TARGET_DIR:-$HERE/../../target}

die() { printf '%s\n' "guest: $*" >&2; exit 125; }
unavailable() { printf '%s\n' "guest: $*" >&2; exit 3; }

with=() without=() variables=() seconds=600 memory=2048 accel=${GUEST_ACCEL:-tcg}
while [ $# -gt 0 ]; do
    case $1 in
        --with) with+=("$2") ;;
        --env) variables+=("$2") ;;
        --without) without+=("$2") ;;
        --timeout) seconds=$2 ;;
        --memory) memory=$2 ;;
        --accel) accel=$2 ;;
        --) shift; break ;;
        *) die "unknown option $1; see the top of $0" ;;
    esac
    shift 2 || die "$1 needs a value"
done
[ $# -gt 0 ] || die "no program; see the top of $0"

command -v qemu-system-x86_64 >/dev/null || unavailable "no qemu-system-x86_64 (Debian: qemu-system-x86)"
DEBIAN=$("$HERE/fetch.sh" "$TARGET/guest") || exit $?
BUSYBOX=$DEBIAN/root/bin/busybox
VERSION=$(cat "$DEBIAN/version")
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
ROOT=$WORK/root

# libraries FILE: the shared libraries that it needs, its loader among them.
libraries() { ldd "$1" 2>/dev/null | grep -o '/[^ ]*' || true; }

# include FILE: copies it to the same place in the guest, following links, without debug symbols.
include() {
    local place
    place=$(realpath -ms "$1")
    [ -e "$ROOT$place" ] && return
    mkdir -p "$ROOT$(dirname "$place")"
    if [ -x "$1" ] && strip --strip-debug -o "$ROOT$place" "$1" 2>/dev/null; then return; fi
    cp -L "$1" "$ROOT$place"
}

# add NAME: a program, file or directory, with libraries.
add() {
    local path file
    path=$(command -v "$1" || true)
    [ -e "$path" ] || path=$1
    [ -e "$path" ] || die "--with $1: there is no such program or file"
    find -L "$path" -type f | while read -r file; do
        include "$file"
        if [ -x "$file" ] || [[ $file == *.so* ]]; then
            libraries "$file" | while read -r library; do include "$library"; done
        fi
    done
}

lay_out() {
    mkdir -p "$ROOT"/{bin,sbin,dev,proc,sys,run,tmp,etc,var,usr/bin,usr/sbin,lib64}
    # As on a system with merged /usr, so that each path of this machine is right in the guest.
    mkdir -p "$ROOT/usr/lib" "$ROOT/usr/lib64"
    rmdir "$ROOT"/{bin,sbin,lib64}
    for name in bin sbin lib lib64; do ln -s "usr/$name" "$ROOT/$name"; done
    mkdir -p "$ROOT/lib/modules/$VERSION"
    cp "$BUSYBOX" "$ROOT/bin/busybox"
    cp -r "$DEBIAN/modules/." "$ROOT/lib/modules/$VERSION/"
    for module in ${without[@]+"${without[@]}"}; do
        find "$ROOT/lib/modules" -name "$module.ko" | grep -q . || die "--without $module: no such module"
        find "$ROOT/lib/modules" -name "$module.ko" -delete
    done
    "$BUSYBOX" depmod -b "$ROOT" "$VERSION"
    cp "$HERE/init" "$ROOT/init"
    echo 'root:x:0:0:root:/:/bin/sh' >"$ROOT/etc/passwd"
    # ipset knows protocols by this file only.
    cp "$DEBIAN/root/etc/protocols" "$ROOT/etc/"
    lay_out_debian
}

# Debian's programs run with Debian's libraries, wherever this machine keeps its own.
lay_out_debian() {
    local tool
    mkdir -p "$ROOT/debian"
    find "$DEBIAN/root/lib/x86_64-linux-gnu" "$DEBIAN/root/usr/lib/x86_64-linux-gnu" -maxdepth 1 \
        -name '*.so*' -exec cp -L {} "$ROOT/debian/" \;
    cp -r "$DEBIAN/root/usr/lib/x86_64-linux-gnu/xtables" "$ROOT/debian/"
    cp "$DEBIAN"/root/{sbin/ipvsadm,usr/sbin/ipset,usr/sbin/xtables-{nft,legacy}-multi} "$ROOT/debian/"
    debian ipvsadm ipvsadm
    debian ipset ipset
    for tool in {ip,ip6}tables{,-save,-restore}; do
        debian "$tool" xtables-nft-multi "$tool"
        debian "${tool/tables/tables-nft}" xtables-nft-multi "$tool"
        debian "${tool/tables/tables-legacy}" xtables-legacy-multi "$tool"
    done
}

# debian NAME PROGRAM [ARGUMENT]: /usr/sbin/NAME starts one of them.
debian() {
    printf '#!/bin/sh\nexport XTABLES_LIBDIR=/debian/xtables\nexec %s --library-path /debian /debian/%s "$@"\n' \
        /debian/ld-linux-x86-64.so.2 "$2${3:+ $3}" >"$ROOT/usr/sbin/$1"
    chmod +x "$ROOT/usr/sbin/$1"
}

lay_out
for item in ${with[@]+"${with[@]}"}; do add "$item"; done
program=$1
shift
# What busybox has need not come from here.
if [[ $program == */* ]] || ! "$BUSYBOX" --list | grep -qx -- "$program" && [ ! -e "$ROOT/usr/sbin/$program" ]; then
    add "$program"
    program=$(realpath -ms "$(command -v "$program" || echo "$program")")
fi
{
    for variable in ${variables[@]+"${variables[@]}"}; do printf 'export %q\n' "$variable"; done
    printf 'exec'
    printf ' %q' "$program" "$@"
    echo
} >"$ROOT/command"
(cd "$ROOT" && find . | "$BUSYBOX" cpio -o -H newc -R 0:0 >"$WORK/initramfs") 2>"$WORK/cpio.log" ||
    die "cpio: $(cat "$WORK/cpio.log")"

# Under emulation the other clocks cost a device access for each look.
CHEAP='mitigations=off nowatchdog tsc=reliable clocksource=tsc'
# Three serial ports: the program's output, the kernel's messages, and the exit status.
status=0
timeout -k 5 "$seconds" qemu-system-x86_64 -accel "$accel" -cpu max -smp 2 -m "$memory" -nodefaults \
    -no-reboot -display none -serial stdio -serial "file:$WORK/kernel.log" -serial "file:$WORK/status" \
    -kernel "$DEBIAN/vmlinuz" -initrd "$WORK/initramfs" \
    -append "console=ttyS1 panic=-1 loglevel=${GUEST_LOGLEVEL:-4} random.trust_cpu=on $CHEAP" \
    </dev/null || status=$?
cp "$WORK/kernel.log" "$TARGET/guest/kernel.log" 2>/dev/null || true
if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
    printf '%s\n' "guest: not done after $seconds s" >&2
    exit 124
fi
[ -s "$WORK/status" ] || die "ended with qemu's status $status and none of the program; its kernel said:
$(tail -n 30 "$WORK/kernel.log")"
exit "$(tr -d '\r\n' <"$WORK/status")"
