# make demo      a host drives the agent through a server's first boot, without Xen
# make test      everything that has to hold before a change lands
# make conformance  the suite for one runtime (RUNTIME=), or for any other binary: AGENT=/path/to/it
# make xen-lab   the same agent in a guest of real Xen, in QEMU: not part of test, it takes half an hour, and root once
# make bench     what a request costs, compared with what the store itself costs
# make install   one variant, as nova-agent: DESTDIR=, PREFIX=/usr, RUNTIME=blocking
# make package   the same as a Debian package below target/

RUNTIME ?= blocking
PREFIX ?= /usr
DESTDIR ?=
CARGO ?= cargo

builds = $(or $(CARGO_TARGET_DIR),target)
agent = $(builds)/release/nova-agent-$(RUNTIME)
version := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# What a fresh machine may lack, unpacked below .cache.
tools = tools=$$(tests/tools/setup) && eval "$$tools" &&
stores = tests/xenstored/setup &&
# What the tests of whole guests did, shown again at the end.
tables = $(builds)/tmp/roll-back.txt $(builds)/tmp/oracles.txt

.PHONY: demo test lint purity unit conformance xen-lab bench build install package clean

demo:
	$(CARGO) build --workspace --bins
	$(tools) exec tests/demo

test: lint purity unit

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet

# The core must link without std; see tests/purity/src/lib.rs.
purity:
	$(CARGO) build --manifest-path tests/purity/Cargo.toml --target-dir target/purity

unit:
	$(CARGO) build --workspace --bins
	rm -f $(tables)
	$(stores) $(tools) { $(CARGO) test --workspace --no-fail-fast; status=$$?; cat $(tables); exit $$status; }

conformance:
	$(stores) $(tools) exec $(if $(AGENT),env NOVA_AGENT=$(abspath $(AGENT))) $(CARGO) test --package nova-agent-tests --test agent_$(RUNTIME)

xen-lab: package
	$(CARGO) build --release --package nova-agent-tests --bin nova-host
	tests/xen-lab/agent-test

bench:
	$(CARGO) build --release --workspace --bins
	$(stores) $(tools) exec $(CARGO) bench --package nova-agent-tests

build:
	$(CARGO) build --release --package nova-agent-$(RUNTIME)

install: build
	install -D -m 0755 $(agent) $(DESTDIR)$(PREFIX)/sbin/nova-agent
	install -D -m 0644 packaging/nova-agent.service $(DESTDIR)$(PREFIX)/lib/systemd/system/nova-agent.service
	install -D -m 0644 packaging/config.toml $(DESTDIR)/etc/nova-agent/config.toml
	install -D -m 0644 README.md $(DESTDIR)$(PREFIX)/share/doc/nova-agent/README.md
	install -D -m 0644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/nova-agent/copyright

package:
	rm -rf target/package
	$(MAKE) install DESTDIR=target/package PREFIX=/usr
	packaging/deb target/package $(version)

clean:
	$(CARGO) clean
