# Entry points for people. CI runs .ci/run, which uses these.

TARGET := $(or $(CARGO_TARGET_DIR),target)

# With numpy and scipy: Debian's own, whatever else comes first in PATH.
PYTHON ?= /usr/bin/python3

.DEFAULT_GOAL := help
.PHONY: help build demo demo-asterisk test overload lint bench bench-media bench-speech bench-table bench-speech-table deny fixtures accuracy accuracy-people real-speech bench-people bench-segmentation soak soak-trouble

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the server (target/release/asterscribe)
	@tools/setup.sh build
	cargo build --release --locked

demo: ## transcribe a call of two parties, no Asterisk needed
	@tools/setup.sh demo
	cargo build --release --locked -p asterscribe -p asterscribe-testkit
	@tools/demo.sh $(TARGET)/release

demo-asterisk: ## the same with a real Asterisk 22 placing the call
	@tools/setup.sh test
	cargo build --release --locked -p asterscribe -p asterscribe-testkit
	@tools/demo.sh $(TARGET)/release asterisk

# Most of the slow tests wait for calls that last as long as calls do.
TEST_THREADS ?= 4

test: ## run every test
	@tools/setup.sh test
	@cargo test --workspace --locked --no-fail-fast -- --test-threads=$(TEST_THREADS); status=$$?; \
	[ -e "$${ASTERSCRIBE_CACHE:-.cache}/real-speech/complete" ] || printf '\n*** NO TEST HEARD REAL SPEECH: the weights and recordings could not be fetched (make real-speech says why) ***\n\n'; \
	exit $$status

overload: ## twice the load for ten minutes, ten times for ten seconds (half an hour)
	@tools/setup.sh test
	cargo test --workspace --locked -- overload --ignored --nocapture

soak: ## 3,000 calls by SIP through a real Asterisk in each RTP_MODE: media, records, nothing left (12 minutes)
	@tools/setup.sh test
	cargo build --release --locked -p asterscribe -p asterscribe-testkit
	$(TARGET)/release/soak 3000 10

soak-trouble: ## 10,000 in each while channels are hung up by others and server and Asterisk are killed (35 minutes)
	@tools/setup.sh test
	cargo build --release --locked -p asterscribe -p asterscribe-testkit
	$(TARGET)/release/soak 10000 10 trouble

lint: ## formatting, clippy and docs, warnings are errors; the fuzz targets compile
	@tools/setup.sh ci
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
	cargo check --manifest-path fuzz/Cargo.toml --locked --target-dir $(TARGET)

bench: ## ns per 20 ms packet, and the other benches
	@tools/setup.sh build
	cargo bench --workspace --locked

bench-media: ## CPU per packet and call, memory per call, beside other receivers (3 minutes)
	@tools/setup.sh bench
	cargo build --release --locked -p asterscribe-bench
	$(TARGET)/release/asterscribe-bench media

bench-table: ## the same, into docs/performance.md
	@tools/setup.sh bench
	cargo build --release --locked -p asterscribe-bench
	tools/bench-table.sh $(TARGET)/release/asterscribe-bench docs/performance.md media

# Debian's, unpacked into .cache; where that cannot be had, the bench says so and does without.
WHISPER_CLI = "$$($(TARGET)/release/whisper-cli || echo whisper-cli)"

bench-speech: ## recognition beside whisper.cpp's own program, and how many calls are held (9 minutes)
	@tools/setup.sh bench
	cargo build --release --locked -p asterscribe-bench -p asterscribe-testkit
	$(TARGET)/release/asterscribe-bench speech --whisper-cli $(WHISPER_CLI)
	$(TARGET)/release/asterscribe-bench calls

bench-speech-table: ## the same, into docs/performance.md
	@tools/setup.sh bench
	cargo build --release --locked -p asterscribe-bench -p asterscribe-testkit
	tools/bench-table.sh $(TARGET)/release/asterscribe-bench docs/performance.md speech --whisper-cli $(WHISPER_CLI)
	tools/bench-table.sh $(TARGET)/release/asterscribe-bench docs/performance.md calls

accuracy: ## words wrong by voice, through a real Asterisk, with and without loss, into docs/accuracy.md (6 minutes)
	@tools/setup.sh accuracy
	cargo build --release --locked -p asterscribe -p asterscribe-testkit
	cd tools/demo-model && $(PYTHON) -m demomodel.callers $(abspath $(TARGET))/callers
	$(TARGET)/release/accuracy $(TARGET)/callers docs/accuracy.md

accuracy-people: ## the same with real models and people's voices, into docs/accuracy-people.md (10 minutes)
	@tools/setup.sh accuracy
	cargo build --release --locked -p asterscribe -p asterscribe-bench -p asterscribe-testkit
	$(TARGET)/release/accuracy --people docs/accuracy-people.md

real-speech: ## fetch real Whisper weights and recordings of people into .cache (250 MB)
	@tools/setup.sh test
	cargo run --quiet --locked -p asterscribe-testkit --bin real-speech

bench-people: ## words and CPU of real models on recordings of people, beside other programs, into docs/people.md (40 minutes)
	@tools/setup.sh bench
	cargo build --release --locked -p asterscribe -p asterscribe-bench -p asterscribe-testkit
	$(TARGET)/release/people $(TARGET)/release/asterscribe-bench docs/people.md

bench-segmentation: ## how people's speech is cut, by setting and noise, and half an hour without any, into docs/segmentation-people.md (20 minutes)
	@tools/setup.sh bench
	cargo build --release --locked -p asterscribe -p asterscribe-bench -p asterscribe-testkit
	$(TARGET)/release/segmentation docs/segmentation-people.md

deny: ## licences, sources, bans and advisories of the dependencies
	@tools/setup.sh build
	tools/cargo-deny.sh

fixtures: ## record fixtures/*.pcap again from a real Asterisk
	@tools/setup.sh fixtures
	cargo run --locked -p asterscribe-testkit --bin capture -- all
