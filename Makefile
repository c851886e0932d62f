# One command each. `make test` installs what the tests need and runs them all.

CARGO_DENY_VERSION := 0.20.2
TOOLS := $(CURDIR)/target/tools
export PATH := $(TOOLS)/bin:$(PATH)

.PHONY: run test tools fmt clippy deny unit schemathesis clean

# The service on SQLite in ./data, with the demo catalogue.
run:
	cargo run --release

# Everything. Stops at the first thing that is wrong.
test: tools fmt clippy deny unit schemathesis

# What the tests need beyond Rust: a C compiler, a Postgres server, Python, cargo-deny.
tools:
	@CARGO_DENY_VERSION=$(CARGO_DENY_VERSION) TOOLS="$(TOOLS)" sh tests/support/install.sh

fmt:
	cargo fmt --check

clippy:
	cargo clippy --all-targets -- -D warnings
	cargo clippy --features candle --lib --bench encoder -- -D warnings

# Licences, banned crates, sources.
deny: tools
	cargo deny check licenses bans sources

# All of cargo's tests, those on Postgres included: each starts a server of its own.
unit: tools
	cargo test

# Requests made up from the served OpenAPI document, against a running service.
schemathesis: tools
	tests/schemathesis/run

clean:
	cargo clean
