#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fuzzes a parser with libFuzzer, on stable Rust: fuzz/run.sh [SECONDS [annotations|config|manifests|netlink]].
# Without a name, all of them one after the other. Needs g++ or clang++. The corpus is kept in
# fuzz/corpus, findings are left in fuzz/artifacts.
set -eu
cd "$(dirname "$0")"

SECONDS_TO_RUN=${1:-60}
TARGETS=${2:-annotations config manifests netlink}
for target in annotations config manifests netlink; do
    mkdir -p "corpus/$target" "artifacts/$target"
done

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
cp seeds/annotations/* corpus/annotations/
# Findings of earlier runs, once mended.
for target in annotations config manifests netlink; do
    if [ -d "regressions/$target" ]; then
        cp "regressions/$target"/* "corpus/$target/"
    fi
done

# What `cargo fuzz --sanitizer none` sets: counters at each edge, and comparisons. Only crates that
# read the text need them, but RUSTFLAGS hold for all.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1" \
    cargo build --release --target "$(rustc -vV | sed -n 's/host: //p')"

for target in $TARGETS; do
    echo "==> $target"
    target/*/release/"$target" "corpus/$target" -artifact_prefix="artifacts/$target/" \
        -max_total_time="$SECONDS_TO_RUN" -max_len=4096 -timeout=5 -print_final_stats=1
done
