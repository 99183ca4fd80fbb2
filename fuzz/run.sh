#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fuzzes a parser with libFuzzer, on stable Rust: fuzz/run.sh [SECONDS [TARGET ...]]. Without a
# name, all of them one after the other. Needs g++ or clang++. The corpus is kept in fuzz/corpus,
# findings are left in fuzz/artifacts, what libFuzzer says in fuzz/target/TARGET.log.
set -eu
cd "$(dirname "$0")"

ALL="config manifests netlink ingress wire words"
mkdir -p target
SECONDS_TO_RUN=${1:-60}
[ $# -eq 0 ] || shift
for target in $ALL; do
    mkdir -p "corpus/$target" "artifacts/$target"
done

# So many lines of standard input are a seed: seeds TARGET NAME LINES.
seeds() {
    awk -v prefix="corpus/$1/seed-$2-" -v lines="$3" '
        (NR - 1) % lines == 0 { if (file) close(file); file = prefix NR }
        { print > file }'
}

# Each case of the recording is a seed.
number=0
grep '^file ' ../src/config/testdata/cases.txt | while IFS= read -r line; do
    number=$((number + 1))
    {
        echo 'apiVersion: kubeproxy.config.k8s.io/v1alpha1'
        echo 'kind: KubeProxyConfiguration'
        printf '%s\n' "${line#file }" | sed 's/\\n/\n/g'
    } >"corpus/config/seed-$number"
done
cp ../src/config/testdata/kubeadm.yaml corpus/config/seed-kubeadm
sed -n '/OBJECTS: &str/,/^";/p' ../tests/support/mod.rs | sed '1d;$d' >corpus/manifests/seed-objects
find ../daemonset -name '*.yaml' | while IFS= read -r file; do
    head -c 4096 "$file" >"corpus/manifests/seed-$(basename "$file")"
done
# What a kernel told of changes of tables and of flows that ended.
cp seeds/netlink/* corpus/netlink/
# Annotations and settings as unit tests have them; the names of all of them, as words. A tab stands
# for a line end in a value.
pairs() {
    sed -E "s/^\(\"([a-z0-9-]*)\", \"(.*)\"\)\$/$1 \1: \2/; "'s/\\n/\t/g; s/\\(["\\])/\1/g'
}
PAIR='\("[a-z0-9-]+", "([^"\\]|\\.)*"\)'
grep -rhoE "$PAIR" ../src/ingress/annotation ../src/ingress/catalog/tests | sort -u | pairs a |
    sed 's|$|\np /a(/.*)\nr /a/b?c=d|' | seeds ingress annotation 3
grep -rhoE "$PAIR" ../src/ingress/catalog/settings/tests.rs | sort -u | pairs c |
    seeds ingress setting 1
grep -hoE '^ *(\(|served\(|refused\(|approximated\()?"[a-z0-9-]+",' ../src/ingress/annotation/known.rs \
    ../src/ingress/catalog/settings/served.rs | sed -E 's/^[^"]*"([^"]*)".*/"\1: "/' | sort -u \
    >target/words-of-ingress
cp seeds/ingress/* corpus/ingress/
cp seeds/wire/* corpus/wire/
if command -v openssl >/dev/null; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=a.example \
        -keyout target/key.pem -out target/certificate.pem 2>/dev/null
    cat target/certificate.pem target/key.pem >corpus/wire/seed-pem
fi
# Command lines, and lines of a state file.
grep -E '^flag ' ../src/config/testdata/cases.txt | cut -c 6- | seeds words flags 1
cp seeds/words/* corpus/words/
# Findings of earlier runs, once mended.
for target in $ALL; do
    if [ -d "regressions/$target" ]; then
        cp "regressions/$target"/* "corpus/$target/"
    fi
done

# What `cargo fuzz --sanitizer none` sets: counters at each edge, and comparisons. Only crates that
# read the text need them, but RUSTFLAGS hold for all.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1" \
    cargo build --release --locked --target "$(rustc -vV | sed -n 's/host: //p')"

for target in ${*:-$ALL}; do
    echo "==> $target"
    [ "$target" = ingress ] && dictionary=-dict=target/words-of-ingress || dictionary=
    # shellcheck disable=SC2086 # none is no argument
    target/*/release/"$target" "corpus/$target" -artifact_prefix="artifacts/$target/" $dictionary \
        -max_total_time="$SECONDS_TO_RUN" -max_len=4096 -timeout=5 -print_final_stats=1 2>&1 |
        tee "target/$target.log" | grep -vE '^#[0-9]+	(NEW|REDUCE)' || true
    # Of the pipe only grep's status is known.
    grep -q '^stat::number_of_executed_units' "target/$target.log" &&
        ! grep -q '^==[0-9]*==' "target/$target.log" || {
        echo "$target: a finding, see artifacts/$target" >&2
        exit 1
    }
done
