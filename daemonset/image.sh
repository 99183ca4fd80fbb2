#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Build the image of the Containerfile without a container builder and without a base image:
# a static program, packed into an archive that docker, podman and containerd can load.
#
#   daemonset/image.sh [NAME [ARCHIVE]]      default: ferrule:0.1.0 ferrule.tar
#
#   ctr -n k8s.io images import ARCHIVE      or: docker load -i, podman load -i, kind load image-archive
#
# BINARY=FILE packs that program instead of building one, and INGRESS=FILE the Ingress sidecar. A name without a registry is taken for
# docker.io/library/NAME by containerd, and so it is written.
set -eu

name=${1:-ferrule:0.1.0}
archive=${2:-ferrule.tar}
root=$(cd "$(dirname "$0")/.." && pwd)

die() { echo "image.sh: $*" >&2; exit 1; }

case $name in
*/*:*) ;;
*/*) die "no tag in $name" ;;
*:*) name=docker.io/library/$name ;;
*) die "no tag in $name" ;;
esac

if [ -z "${BINARY:-}" ]; then
  target=$(rustc -vV | sed -n 's/^host: //p')
  # Naming the target keeps crt-static away from build scripts and procedural macros.
  (cd "$root" && RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --profile dist --locked --bin ferrule --bin ferrule-ingress --target "$target")
  BINARY=${CARGO_TARGET_DIR:-$root/target}/$target/dist/ferrule
  INGRESS=${INGRESS:-$BINARY-ingress}
fi
[ -f "$BINARY" ] || die "no program $BINARY"
# Neither a dynamic loader nor libraries are in the image.
if LC_ALL=C readelf -l "$BINARY" | grep -q INTERP; then die "$BINARY is not static"; fi

case $(LC_ALL=C readelf -h "$BINARY" | sed -n 's/^ *Machine: *//p') in
*X86-64*) arch=amd64 ;;
AArch64) arch=arm64 ;;
*) die "unknown processor of $BINARY" ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/usr/local/bin" "$work/root/run/ferrule" "$work/image"
install -m 0755 "$BINARY" "$work/root/usr/local/bin/ferrule"
if [ -n "${INGRESS:-}" ]; then
  install -m 0755 "$INGRESS" "$work/root/usr/local/bin/ferrule-ingress"
fi
# kubeadm's DaemonSet calls it by this name.
ln -s ferrule "$work/root/usr/local/bin/kube-proxy"
# pack DIRECTORY ARCHIVE NAME...: the same bytes each time.
pack() {
  from=$1 to=$2
  shift 2
  tar --numeric-owner --owner=0 --group=0 --sort=name --mtime=@0 -C "$from" -cf "$to" "$@"
}
pack "$work/root" "$work/image/layer.tar" run usr
diff=$(sha256sum "$work/image/layer.tar" | cut -d' ' -f1)
cat >"$work/image/config.json" <<J
{"architecture":"$arch","os":"linux","config":{"Entrypoint":["/usr/local/bin/ferrule"],"Env":["PATH=/usr/local/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:$diff"]}}
J
cat >"$work/image/manifest.json" <<J
[{"Config":"config.json","RepoTags":["$name"],"Layers":["layer.tar"]}]
J
pack "$work/image" "$archive" config.json layer.tar manifest.json
echo "$archive: $name, $arch, $(du -h "$archive" | cut -f1)"
