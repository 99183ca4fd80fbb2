#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes a Debian or Ubuntu machine fit for `make demo` and `make test`, given cargo and make.
# Installs Debian packages for commands that are missing, and touches nothing else.
# Usage: scripts/setup.sh build|demo|test|test-ipvs|bench|bench-ingress|differential-ingress
set -eu

MINIMUM=1.89
PURPOSE=${1:-build}

say() { printf '==> %s\n' "$*"; }
die() { printf '%s: error: %s\n' "make $PURPOSE" "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

check_rust() {
    have cargo && have rustc || die "cargo is missing: install Rust $MINIMUM or newer, https://rustup.rs"
    version=$(rustc --version | cut -d' ' -f2)
    major=${version%%.*} rest=${version#*.} minor=${rest%%.*}
    case $major$minor in *[!0-9]* | '') die "cannot read the version of rustc: $version" ;; esac
    [ "$major" -gt "${MINIMUM%%.*}" ] || [ "$minor" -ge "${MINIMUM#*.}" ] ||
        die "rustc $version is too old: $MINIMUM or newer is needed (rustup update stable)"
    say "rustc $version"
}

check_root() {
    [ "$(id -u)" -eq 0 ] ||
        die "needs root, for network namespaces: sudo env PATH=\"\$PATH\" make $PURPOSE"
}

# needs COMMAND PACKAGE...: notes the packages if the command is missing.
needs() {
    command=$1
    shift
    have "$command" || PACKAGES="$PACKAGES $*"
}

# needs_file FILE PACKAGE: the same for a file.
needs_file() {
    [ -e "$1" ] || PACKAGES="$PACKAGES $2"
}

# What nginx needs to do as ingress-nginx's does.
needs_nginx_modules() {
    for module in headers-more-filter set-misc brotli-filter; do
        needs_file "/usr/lib/nginx/modules/ngx_http_$(echo $module | tr - _)_module.so" \
            "libnginx-mod-http-$module"
    done
}

note_packages() {
    PACKAGES=
    needs cc gcc
    needs_file /usr/include/stdio.h libc6-dev
    needs_file /etc/ssl/certs/ca-certificates.crt ca-certificates
    [ "$PURPOSE" != build ] || return 0
    needs ip iproute2
    needs nft nftables
    needs setpriv util-linux
    case $PURPOSE in
        test*)
            needs conntrack conntrack
            needs curl curl
            needs openssl openssl
            needs nginx nginx-light
            needs nghttp nghttp2-client
            needs haproxy haproxy
            needs_nginx_modules
            ;;
        differential-ingress)
            needs nginx nginx-light
            needs_nginx_modules
            ;;
        bench)
            needs nginx nginx-light
            needs ab apache2-utils
            ;;
        bench-ingress)
            needs openssl openssl
            needs nginx nginx-light
            needs haproxy haproxy
            needs h2load nghttp2-client
            ;;
    esac
    [ "$PURPOSE" = test-ipvs ] || return 0
    needs qemu-system-x86_64 qemu-system-x86
    needs strip binutils
}

install_packages() {
    [ -n "$PACKAGES" ] || { say "no package is missing"; return 0; }
    have apt-get || die "missing, and this is neither Debian nor Ubuntu:$PACKAGES"
    [ "$(id -u)" -eq 0 ] || die "missing packages, install them as root:$PACKAGES"
    say "installing$PACKAGES"
    apt-get update -qq || die "apt-get update failed"
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $PACKAGES \
        >/dev/null || die "apt-get install failed:$PACKAGES"
}

case $PURPOSE in
    build) ;;
    demo | test | test-ipvs | bench | bench-ingress | differential-ingress) check_root ;;
    *) die "unknown purpose: build, demo, test, test-ipvs, bench, bench-ingress, differential-ingress" ;;
esac
check_rust
note_packages
install_packages
