# `make run` and `make test` do all their set-up themselves; see README.md.

.DEFAULT_GOAL := help
.PHONY: help run build setup toolchains image test test-quick test-languages swarm fuzz bench bench-compaction bench-acks bench-cold bench-starts bench-recovery bench-egress format

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Build and start Tandem (ARGS="--listen 127.0.0.1:9000")
	@./scripts/run.sh $(ARGS)

build: ## Build the page, the agent and the release server
	@./scripts/setup.sh run
	@./scripts/build.sh

setup: ## Install what running needs, or say what is missing
	@./scripts/setup.sh run

toolchains: ## Install the templates' languages on this server (ONLY="go java")
	@./scripts/toolchains.sh $(ONLY)

image: ## Make the image of --sandbox=docker and give it to the Docker daemon
	@./scripts/image.sh

test: ## Everything: formatting, lints, types, unit, whole-product, stock-client and browser tests
	@./scripts/test.sh

test-quick: ## The same without a browser, stock clients and whole-product tests
	@./scripts/test.sh quick

test-languages: ## Install all languages and run every template in a sandbox
	@./scripts/toolchains.sh
	@./scripts/test-languages.sh

swarm: ## Kill, pause and lose the server under many clients for long (SECONDS=3600 SEED=1)
	@./scripts/setup.sh test
	@./scripts/swarm.sh "$(SECONDS)" "$(SEED)"

fuzz: ## Throw mutated bytes at every reader for long (SECONDS=3600 SEED=1 TARGET=update)
	@TANDEM_FUZZ_SECONDS=$(or $(SECONDS),3600) TANDEM_FUZZ_SEED=$(SEED) TANDEM_FUZZ_TARGET=$(TARGET) \
		cargo test --locked --release -p tandem-tests --test fuzz -- --nocapture

bench: ## Measure the bars of the README and print them as a table
	@./scripts/setup.sh test
	@./scripts/build.sh
	@./benches/run.sh

bench-compaction: ## Measure what a document costs after a million edits
	@cargo run --locked --quiet --release -p tandem-doc --example compaction

bench-acks: ## Measure what fsynced acks cost against no acks, and how late they are
	@cargo build --locked --quiet --release --bins
	@cargo run --locked --quiet --release -p tandem-testkit --example acks

bench-cold: ## Measure the memory of 5,000 repls that nobody uses, and of open documents
	@cargo build --locked --quiet --release --bins
	@cargo run --locked --quiet --release -p tandem-testkit --example cold

bench-starts: ## Measure a sandbox's start beside plain bwrap and docker run (ROUNDS=40)
	@./scripts/setup.sh test
	@cargo build --locked --quiet --release -p tandem-agent
	@TANDEM_BENCH_ROUNDS=$(or $(ROUNDS),40) cargo test --locked --quiet --release -p tandem-sandbox \
		--test drivers -- starts_are_measured --test-threads=1

bench-recovery: ## Measure how long 1, 100 and 1,000 repls take to come back after their machine died
	@cargo build --locked --quiet --release --bins
	@cargo run --locked --quiet --release -p tandem-testkit --example recovery

bench-egress: ## Measure how fairly sandboxes share the line (as root; in a closed network)
	@cargo run --locked --quiet --release -p tandem-sandbox --example egress

format: ## Format Rust and TypeScript
	cargo fmt --all
	cd frontend && npm run --silent format
	frontend/node_modules/.bin/prettier --write tests/*.mjs tests/*/*.mjs benches/*.mjs
