# make demo      a host drives the agent through a server's first boot, without Xen
# make guest     unpacks a guest of tests/guests for nova-agent plan: NAME=debian-12-ifupdown DIR=/tmp/guest
# make test      everything that has to hold before a change lands; STAGES= for a part of it
# make nightly   the same with the full number of random cases, and the long searches: hours
# make conformance  the suite for one runtime (RUNTIME=), or for any other binary: AGENT=/path/to/it
# make deny      licences, sources and versions of the dependencies, advisories if their database can be had (make advisories: must)
# make fuzz      inputs that break a promise of the core are looked for: TIME=60 seconds for each of TARGETS=, JOBS=2 at a time
# make simulate  hostile and unlucky worlds: SEEDS=10000 (FIRST=0), or SEED=123 for one with its story; docs/simulation.md
# make xen-lab   the same agent in a guest of real Xen, in QEMU: not part of test, it takes half an hour, and root once
# make crash     kills optimized agents in the middle of their work, ROUNDS=200 times in each command, runtime and daemon
# make bench     what a request costs, compared with what the store itself costs
# make static    one variant as a binary that needs no library of the image, below target/static: RUNTIME=blocking
# make footprint size, memory, threads, wake-ups and start of the static binaries of all variants; takes minutes
# make install   one variant, as nova-agent: DESTDIR=, PREFIX=/usr, RUNTIME=blocking|mio|async, STATIC=1 for a static one
# make package   the same as a Debian package below target/

RUNTIME ?= blocking
ROUNDS ?= 200
STATIC ?=
PREFIX ?= /usr
DESTDIR ?=
CARGO ?= cargo

builds = $(or $(CARGO_TARGET_DIR),target)
statics = $(builds)/static
static_agents = $(statics)/$(static_target)/release
agent = $(if $(STATIC),$(static_agents),$(builds)/release)/nova-agent-$(RUNTIME)
version := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# What a fresh machine may lack, unpacked below .cache.
tools = tools=$$(tests/tools/setup) && eval "$$tools" &&
stores = tests/xenstored/setup &&
# What `make test` does, in this order; tests/stages says how long each took.
STAGES = fetch lint purity deny tests replay search
# Tests of the suite that is the same for every runtime mostly wait, so that more of them than there are processors run
# at the same time; tests/together does the same.
WAITING = 6
# A workspace of its own, built beside this one.
fuzz_crate = --manifest-path fuzz/Cargo.toml
fuzz_builds = --target-dir $(builds)/fuzz
TIME = 60
TARGETS =
JOBS = 2
SANITIZER = none
# What the tests of whole guests and worlds did, shown again at the end.
tables = $(patsubst %,$(builds)/tmp/%.txt,roll-back oracles crash simulation)

# Linked without the image's libraries, at addresses of the kernel's choice all the same. Relocations in short form take
# some 97,000 bytes from nova-agent-blocking, and 0.18 MiB from what is resident, as every start reads them.
static_target = $(shell rustc -vV | sed -n 's/^host: //p')
static_flags = -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs
static_build = RUSTFLAGS='$(static_flags)' $(CARGO) build --release --target $(static_target) --target-dir $(statics)

.PHONY: demo guest test fetch nightly lint freebsd purity deny advisories tests oracles replay search fuzz simulate conformance xen-lab crash bench footprint build static install package clean

demo:
	$(CARGO) build --workspace --bins
	$(tools) exec tests/demo

guest:
	$(CARGO) run --quiet --package nova-agent-tests --bin nova-guest -- unpack $(NAME) $(DIR)

test:
	MAKE='$(MAKE)' tests/stages $(STAGES)

# All that is downloaded, and the tools that are built of it, so that no test waits for that.
fetch: export CARGO_NET_RETRY = 5
fetch:
	$(CARGO) fetch --locked
	$(CARGO) fetch --locked $(fuzz_crate)
	$(CARGO) fetch --locked --manifest-path tests/purity/Cargo.toml
	tests/tools/setup
	tests/xenstored/setup
	tests/oracles/setup
	tests/tools/cargo-tool cargo-deny 0.20.2
	fuzz/setup

# What `make test` does in a small number, in the full one: hours.
nightly: fetch lint purity advisories
	$(MAKE) tests NOVA_ORACLE_CASES=200
	$(MAKE) replay
	$(MAKE) simulate SEEDS=1000000
	$(MAKE) crash ROUNDS=200
	$(MAKE) fuzz TIME=3600

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet
	$(tools) tests/structure/check && tests/structure/msrv
	$(CARGO) fmt $(fuzz_crate) --check
	$(CARGO) clippy $(fuzz_crate) $(fuzz_builds) --all-targets -- -D warnings

# Compiles for FreeBSD, if the toolchain has its target; nothing is run.
freebsd:
	$(CARGO) check --target x86_64-unknown-freebsd --package nova-agent-blocking --package nova-agent-mio \
		--package nova-agent-async

# The core must link without std; see tests/purity/src/lib.rs.
purity:
	$(CARGO) build --manifest-path tests/purity/Cargo.toml --target-dir target/purity

deny:
	tests/deny/check

advisories:
	tests/deny/check --advisories

# All test binaries, several at the same time, and what is tested of the documentation; TESTS= for some, as in
# TESTS="core tests/guests".
tests:
	$(CARGO) build --workspace --bins
	$(CARGO) test --workspace --no-run
	rm -f $(tables)
	$(stores) tests/oracles/setup && $(tools) CARGO='$(CARGO)' tests/together $(TESTS)
	$(CARGO) test --workspace --doc

# The network stacks judge what is written for them; CASES= for the number of random networks for each.
oracles:
	$(MAKE) tests TESTS=tests/oracles $(if $(CASES),NOVA_ORACLE_CASES=$(CASES))

# The inputs of the repository through the fuzz targets, with the pinned toolchain; see fuzz/README.md.
replay:
	$(CARGO) test $(fuzz_crate) $(fuzz_builds)

# A short search, in every run another one.
search:
	$(MAKE) fuzz TIME=15

fuzz:
	TIME='$(TIME)' TARGETS='$(TARGETS)' JOBS='$(JOBS)' SANITIZER='$(SANITIZER)' \
		fuzz/run $(abspath $(builds))/fuzz

conformance:
	$(stores) $(tools) exec $(if $(AGENT),env NOVA_AGENT=$(abspath $(AGENT))) $(CARGO) test --package nova-agent-tests --test agent_$(RUNTIME) -- --test-threads $(WAITING)

simulate:
	$(CARGO) build --quiet --package nova-agent-tests --bin nova-simulate
	$(builds)/debug/nova-simulate $(if $(SEED),--seed $(SEED),--first $(or $(FIRST),0) --seeds $(or $(SEEDS),10000) $(if $(DIGESTS),--digests $(DIGESTS)))

xen-lab: package
	$(CARGO) build --release --package nova-agent-tests --bin nova-host
	tests/xen-lab/agent-test

# One test at a time, so that a moment means the same for all agents.
crash:
	$(CARGO) build --release $(patsubst %,--package nova-agent-%,blocking mio async)
	$(stores) $(tools) exec env NOVA_AGENT_DIR=$(abspath $(builds)/release) NOVA_CRASH_ROUNDS=$(ROUNDS) NOVA_CRASH_EVERYWHERE=1 \
		$(CARGO) test --package nova-agent-tests --test crash -- --nocapture --test-threads 1

bench:
	$(CARGO) build --release --workspace --bins
	$(stores) $(tools) exec $(CARGO) bench --package nova-agent-tests --bench render --bench round_trip

footprint:
	for runtime in blocking mio async; do $(MAKE) static RUNTIME=$$runtime || exit 1; done
	NOVA_AGENT_DIR=$(abspath $(static_agents)) $(CARGO) bench --package nova-agent-tests --bench footprint

# Shell completions and manual pages, from the definition of the command line.
docs = $(builds)/command-line-docs
.PHONY: command-line-docs
command-line-docs:
	$(CARGO) run --quiet --package nova-agent-system --example command_line_docs -- $(docs)

build:
	$(CARGO) build --release --package nova-agent-$(RUNTIME)

# Started once: a C library older than the linker could leave a static binary with relocations that it does not know.
static:
	$(static_build) --package nova-agent-$(RUNTIME)
	$(static_agents)/nova-agent-$(RUNTIME) --version

install: $(if $(STATIC),static,build) command-line-docs
	install -D -m 0755 $(agent) $(DESTDIR)$(PREFIX)/sbin/nova-agent
	install -D -m 0644 packaging/nova-agent.service $(DESTDIR)$(PREFIX)/lib/systemd/system/nova-agent.service
	install -D -m 0644 packaging/config.toml $(DESTDIR)/etc/nova-agent/config.toml
	install -D -m 0644 $(docs)/nova-agent.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/nova-agent
	install -D -m 0644 $(docs)/nova-agent.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/nova-agent.fish
	install -D -m 0644 $(docs)/_nova-agent $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_nova-agent
	install -D -m 0644 $(docs)/nova-agent.8 $(DESTDIR)$(PREFIX)/share/man/man8/nova-agent.8
	install -D -m 0644 $(docs)/nova-agent-plan.8 $(DESTDIR)$(PREFIX)/share/man/man8/nova-agent-plan.8
	install -D -m 0644 $(docs)/nova-agent-run.8 $(DESTDIR)$(PREFIX)/share/man/man8/nova-agent-run.8
	install -D -m 0644 README.md $(DESTDIR)$(PREFIX)/share/doc/nova-agent/README.md
	install -D -m 0644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/nova-agent/copyright

package:
	rm -rf target/package
	$(MAKE) install DESTDIR=target/package PREFIX=/usr
	packaging/deb target/package $(version)

clean:
	$(CARGO) clean
