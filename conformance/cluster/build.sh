#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds what the cluster runs, from source by pinned Go modules: upstream's programs and
# specs, a container runtime, CoreDNS; then the container images, from these programs and the
# machine's own tools. A part that is built already is left alone.
#
#   build.sh           programs and images
#   build.sh images    the images only, anew
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
CONTAINERD=v2.3.7
export CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOWORK=off

kubernetes_version() { (cd "$HERE/go" && go list -m -f '{{.Version}}' k8s.io/kubernetes); }

# What a build depends on; the tools in the images are Debian's and not counted.
stamp() {
    (
        cd "$HERE"
        go version
        echo "containerd $CONTAINERD"
        find go coredns build.sh -type f -print0 | sort -z | xargs -0 sha256sum
    ) | sha256sum | cut -d' ' -f1
}

# build NAME PACKAGE [FLAG...]: a program, from the module in the working directory.
build() {
    local name=$1 package=$2
    shift 2
    say "building $name"
    nice -n "$NICENESS" go build "$@" -o "$BIN/$name" "$package"
}

# Flags that tell Kubernetes' programs their version; without, they say v0.0.0-master.
version_flags() {
    local version=$1 package minor flags="-s -w"
    minor=${version#v*.}
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags+=" -X $package.gitVersion=$version -X $package.gitMajor=1"
        flags+=" -X $package.gitMinor=${minor%%.*} -X $package.gitTreeState=clean"
    done
    echo "$flags"
}

programs() {
    local version flags name
    version=$(kubernetes_version)
    flags=$(version_flags "$version")
    say "Kubernetes $version, containerd $CONTAINERD; the first time this takes a quarter of an hour"
    cd "$HERE/go"
    for name in kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl kube-proxy; do
        build "$name" "k8s.io/kubernetes/cmd/$name" -ldflags "$flags"
    done
    for name in agnhost regression-issue-74839; do
        build "$name" "k8s.io/kubernetes/test/images/$name" -ldflags "-s -w"
    done
    build ginkgo github.com/onsi/ginkgo/v2/ginkgo -ldflags "-s -w"
    for name in images pause lb; do build "$name" "./$name" -ldflags "-s -w"; done
    say "building e2e.test"
    nice -n "$NICENESS" go test -c -ldflags "$flags" -o "$BIN/e2e.test" ./e2e
    cd "$HERE/coredns"
    build coredns . -ldflags "-s -w"
    say "building containerd"
    local containerd=github.com/containerd/containerd/v2/cmd
    (cd "$FERRULE_CLUSTER" && GOBIN=$BIN nice -n "$NICENESS" go install -ldflags "-s -w" \
        -tags no_btrfs,no_zfs,no_devmapper "$containerd/containerd@$CONTAINERD" \
        "$containerd/containerd-shim-runc-v2@$CONTAINERD" "$containerd/ctr@$CONTAINERD")
    echo "$version" >"$BIN/kubernetes.version"
}

# put ROOT PROGRAM...: copies programs of this machine, with the libraries they are linked to.
put() {
    local root=$1 program library
    shift
    for program in "$@"; do
        program=$(command -v "$program") || die "no program $program on this machine"
        cp -L --remove-destination "$program" "$root/usr/bin/"
        { ldd "$program" 2>/dev/null || true; } | { grep -o '/[^ ]*' || true; } |
            while read -r library; do
                mkdir -p "$root$(dirname "$library")"
                [ -e "$root$library" ] || cp -L "$library" "$root$library"
            done
    done
}

# The file system of every image but the pause one: agnhost with the tools that upstream's
# has from Alpine, CoreDNS, and what else the specs start.
agnhost_root() {
    local root=$1 applet tool porter
    mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,usr/local/bin,etc/coredns,tmp,root}
    mkdir -p "$root"/{proc,sys,dev,var/run,uploads,lib64}
    chmod 1777 "$root/tmp"
    put "$root" busybox
    mv "$root/usr/bin/busybox" "$root/bin/busybox"
    busybox --list | grep -vx busybox | while read -r applet; do
        ln -sf /bin/busybox "$root/bin/$applet"
    done
    # Debian's busybox shell prefers its own applets to programs, so sh is dash. busybox wget
    # crashes when given -T, so wget is GNU's, told not to try again.
    put "$root" dash bash wget curl nc.openbsd dig host ss ip conntrack nft hostname getent
    mv "$root/usr/bin/nc.openbsd" "$root/usr/bin/nc"
    for tool in bash nc ip hostname wget; do ln -sf "/usr/bin/$tool" "$root/bin/$tool"; done
    ln -sf /usr/bin/dash "$root/bin/sh"
    echo 'tries = 1' >"$root/etc/wgetrc"
    echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    cp "$BIN/agnhost" "$BIN/coredns" "$BIN/regression-issue-74839" "$BIN/pause" "$root/"
    ln -s agnhost "$root/agnhost-2"
    # The keys that agnhost's porter serves with.
    porter=$(cd "$HERE/go" && go list -m -f '{{.Dir}}' k8s.io/kubernetes)/test/images/agnhost/porter
    install -m 0644 "$porter/localhost.crt" "$porter/localhost.key" "$root/"
}

# pack ROOT NAME KEY=IMAGE...: an archive with these images, all of one layer.
pack() {
    local root=$1 name=$2
    shift 2
    tar --numeric-owner --owner=0 --group=0 --sort=name --mtime=@0 -C "$root" \
        -cf "$FERRULE_CLUSTER/layer.tar" .
    "$BIN/images" pack "$FERRULE_CLUSTER/layer.tar" "$IMAGES/$name.tar" "$@"
    rm -rf "$root" "$FERRULE_CLUSTER/layer.tar"
}

images() {
    local root=$FERRULE_CLUSTER/rootfs all pause
    say "images"
    mkdir -p "$IMAGES"
    rm -rf "$root"
    agnhost_root "$root"
    mapfile -t all < <("$BIN/images" names | grep -v '^pause=')
    pack "$root" agnhost "${all[@]}" coredns=localhost/ferrule-coredns:1
    pause=$("$BIN/images" names | grep '^pause=')
    mkdir "$root"
    cp "$BIN/pause" "$root/"
    pack "$root" pause "$pause"
    sha256sum "$IMAGES"/*.tar | sha256sum | cut -d' ' -f1 >"$IMAGES/stamp"
}

"$HERE/preflight.sh" build || exit 1
mkdir -p "$BIN" "$LOG"
now=$(stamp)
if [ "$(cat "$BIN/stamp" 2>/dev/null || true)" != "$now" ]; then
    rm -f "$BIN/stamp" "$IMAGES/stamp"
    programs
    echo "$now" >"$BIN/stamp"
fi
if [ ! -s "$IMAGES/stamp" ] || [ "${1:-}" = images ]; then images; fi
say "built: $(du -sh "$BIN" | cut -f1) of programs, $(du -sh "$IMAGES" | cut -f1) of images"
