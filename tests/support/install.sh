#!/bin/sh
# Installs what the tests need and is not there: a C compiler, a Postgres server, Python with venv, cargo-deny, ir-measures.
# Packages come from the system's package manager, as root or through sudo; what is there is left alone.
set -eu

say() { printf '%s\n' "$*" >&2; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        say "This needs root and there is no sudo: $*"
        exit 1
    fi
}

# install WHAT APT DNF APK BREW: each the names of packages, separated by spaces.
updated=no
install() {
    say "Installing $1."
    # The names are lists: they are meant to be split.
    # shellcheck disable=SC2086
    if command -v apt-get >/dev/null 2>&1; then
        if [ "$updated" = no ]; then
            as_root apt-get update -q
            updated=yes
        fi
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $2
    elif command -v dnf >/dev/null 2>&1; then
        as_root dnf install -y -q $3
    elif command -v apk >/dev/null 2>&1; then
        as_root apk add --no-progress $4
    elif command -v brew >/dev/null 2>&1; then
        brew install $5
    else
        say "No known package manager (apt-get, dnf, apk, brew): install $1 yourself."
        exit 1
    fi
}

has_postgres() {
    [ -n "${MEDLEY_TEST_POSTGRES_URL:-}" ] && return 0
    command -v initdb >/dev/null 2>&1 && command -v postgres >/dev/null 2>&1 && return 0
    for bin in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin \
        /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin; do
        [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ] && return 0
    done
    return 1
}

has_venv() {
    command -v python3 >/dev/null 2>&1 && python3 -c 'import ensurepip, venv' >/dev/null 2>&1
}

command -v cc >/dev/null 2>&1 || install "a C compiler" "gcc libc6-dev" "gcc" "build-base" "gcc"
has_postgres || install "a Postgres server" "postgresql" "postgresql-server" "postgresql" "postgresql"
has_postgres || { say "The Postgres server was installed, but initdb is in none of the usual places."; exit 1; }
has_venv || install "Python with venv" "python3 python3-venv" "python3" "python3" "python3"
if ! cargo deny --version >/dev/null 2>&1; then
    say "Installing cargo-deny $CARGO_DENY_VERSION into target/tools."
    # Built quickly rather than to be fast: it runs once.
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        cargo install cargo-deny --locked --version "$CARGO_DENY_VERSION" --root "$TOOLS"
fi
# A copy of the list tells what was installed.
wanted=tests/metrics_reference/requirements.txt
if ! cmp -s "$wanted" "$TOOLS/metrics_reference/requirements.txt"; then
    say "Installing ir-measures into target/tools."
    python3 -m venv --clear "$TOOLS/metrics_reference"
    "$TOOLS/metrics_reference/bin/pip" install --quiet --disable-pip-version-check --prefer-binary -r "$wanted"
    cp "$wanted" "$TOOLS/metrics_reference/requirements.txt"
fi
