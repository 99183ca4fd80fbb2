#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Shows that a test fails where the handling that it is for is removed: list.txt says which line of
# which file becomes what, and which test has to fail then. All of them are built in at once, each
# asleep until FERRULE_MUTANT names it, so that there is one build. With names as arguments: those alone.
# Needs root (as the tests do), perl and git. Works in target/mutations; the sources stay as they are.
set -euo pipefail

root=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
list=$root/conformance/mutations/list.txt
tree=$root/target/mutations/tree
# Of its own: cargo knows a package by its name, and would take the mutated library for ours.
export CARGO_TARGET_DIR=$root/target/mutations/build
patience=${PATIENCE:-120}

rm -rf "$tree"
mkdir -p "$tree"
git -C "$root" ls-files -z --cached --others --exclude-standard |
	tar -C "$root" --null --ignore-failed-read -T - -cf - 2>/dev/null | tar -C "$tree" -xf -

# Asleep unless named. Read once: some of the lines are on hot paths.
cat >>"$tree/src/lib.rs" <<'RUST'

/// Whether a mutation is awake.
#[doc(hidden)]
pub fn mutant(name: &str) -> bool {
    static AWAKE: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let awake = AWAKE.get_or_init(|| std::env::var("FERRULE_MUTANT").ok());
    awake.as_deref() == Some(name)
}
RUST

# A mutation is four lines: its name and the file, the test, the line as it is, and as it becomes.
names=() tests=()
while IFS= read -r line; do
	case $line in '' | '#'*) continue ;; esac
	read -r name file <<<"$line"
	IFS= read -r test
	IFS= read -r from
	IFS= read -r to
	FROM=$from TO=${to//MUTANT/crate::mutant(\"$name\")} perl -0pi -e '
		my $count = () = /\Q$ENV{FROM}\E/g;
		$count == 1 or die "found $count times: $ENV{FROM}\n";
		s/\Q$ENV{FROM}\E/$ENV{TO}/;
	' "$tree/$file" || { echo "$name: $file does not fit conformance/mutations/list.txt" >&2; exit 1; }
	names+=("$name") tests+=("$test")
done <"$list"

cd "$tree"
built=$(cargo test --locked --package ferrule --lib --no-run 2>&1) || { echo "$built" >&2; exit 1; }
program=$(sed -n 's/.*Executable.*(\(.*\))$/\1/p' <<<"$built")
case $program in /*) ;; *) program=$tree/$program ;; esac
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# A test that is not there would pass, and so would one that is skipped.
export REQUIRE_ROOT=1 PROPTEST_MAX_SHRINK_ITERS=0 RUST_BACKTRACE=0
try() {
	timeout "$1" "$program" --exact "${@:2}" >"$log" 2>&1
}
mapfile -t distinct < <(printf '%s\n' "${tests[@]}" | sort -u)
if ! try $((5 * patience)) "${distinct[@]}" || ! grep -q "^test result: ok. ${#distinct[@]} passed" "$log"; then
	tail -40 "$log" >&2
	echo "the ${#distinct[@]} tests do not all pass without any mutation" >&2
	exit 1
fi

wanted=" $* " survived=() killed=0
for number in "${!names[@]}"; do
	name=${names[number]}
	[[ $# -eq 0 || $wanted == *" $name "* ]] || continue
	begun=$SECONDS
	if FERRULE_MUTANT=$name try "$patience" "${tests[number]}"; then
		survived+=("$name")
		outcome=SURVIVED
	else
		killed=$((killed + 1))
		outcome=killed
	fi
	printf '%-9s %-28s %s (%s s)\n' "$outcome" "$name" "${tests[number]}" $((SECONDS - begun))
done
echo "$killed of $((killed + ${#survived[@]})) mutations are noticed"
[[ ${#survived[@]} -eq 0 ]]
