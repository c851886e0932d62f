# One command each. `make test` installs what the tests need and runs them all.

CARGO_DENY_VERSION := 0.20.2
TOOLS := $(CURDIR)/target/tools
export PATH := $(TOOLS)/bin:$(PATH)

CYCLONEDX_VERSION := 0.5.7
FUZZ_SECONDS := 60

.PHONY: run test tools fmt clippy deny unit schemathesis fuzz soak sbom clean

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

# Licences, banned crates, sources.
deny: tools
	cargo deny check licenses bans sources

# All of cargo's tests, those on Postgres included: each starts a server of its own.
unit: tools
	cargo test

# Requests made up from the served OpenAPI document, against a running service.
schemathesis: tools
	tests/schemathesis/run

# Each fuzz target for so many seconds: make fuzz FUZZ_SECONDS=3600.
fuzz:
	fuzz/run $(FUZZ_SECONDS)

# A million events through 200 kills, on both databases: make soak SOAK="--events 100000 --kills 20".
soak:
	benches/soak/run $(SOAK)

# The bill of materials of the program, as target/sbom/medley.cdx.json.
sbom:
	@cargo cyclonedx --version >/dev/null 2>&1 || cargo install cargo-cyclonedx --locked --version $(CYCLONEDX_VERSION) --root "$(TOOLS)"
	cargo cyclonedx --quiet --format json --spec-version 1.5 --override-filename medley.cdx
	mkdir -p target/sbom && mv medley.cdx.json target/sbom/

clean:
	cargo clean
