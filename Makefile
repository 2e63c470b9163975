# tollgate: every task a contributor or an operator runs. `make help` lists them.
#
# Each target brings what it needs: with apt-get on Debian (as root or through sudo);
# elsewhere it says what is missing. Only Rust comes from you (https://rustup.rs).

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Recipes contain no bashism; cargo parallelises by itself, and two targets that both
# install packages would wait for each other's lock.
SHELL := /bin/sh
.NOTPARALLEL:

CARGO ?= cargo
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
TOLLGATE := $(TARGET_DIR)/release/tollgate

# Programs unpacked for tests and benches, never installed; a Node for Debian 12; and
# sbin, which is not on every user's PATH but holds nginx.
TOOLS := $(TARGET_DIR)/tools
VENV := $(TARGET_DIR)/test-env/venv
NODE := $(TARGET_DIR)/test-env/node
export PATH := $(NODE)/bin:$(TOOLS)/usr/bin:$(TOOLS)/usr/sbin:$(PATH):/usr/sbin

# What `cargo build` calls: cc for ring and zstd, cmake for zlib-ng. Providers' certificates
# are checked against the system's store, whose place is known here on Debian only.
NEED_BUILD := cc=build-essential cmake=cmake \
	$(if $(wildcard /etc/debian_version),/etc/ssl/certs/ca-certificates.crt=ca-certificates)
NEED_LINT := shellcheck=shellcheck
NEED_TEST := git=git curl=curl openssl=openssl h2load=nghttp2-client systemd-analyze=systemd \
	man=man-db python3=python3 node=nodejs npm=npm
NEED_BENCH := wrk=wrk openssl=openssl
NEED_PACKAGE := dpkg-deb=dpkg dpkg-shlibdeps=dpkg-dev gzip=gzip

SHELL_SCRIPTS := .ci/need .ci/unpack .ci/test-env systemd/verify.sh systemd/debian/build \
	systemd/debian/postinst systemd/debian/prerm systemd/debian/postrm

.PHONY: help run test bench lint fmt package clean rust build-needs

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: rust build-needs ## build in release, start the demo gateway on 127.0.0.1:8080
	$(CARGO) build --release --locked
	$(TOLLGATE) demo

test: rust build-needs $(VENV)/.ready $(NODE)/.ready ## run every test
	@sh .ci/need $(NEED_TEST)
	@sh .ci/unpack $(TOOLS) promtool=prometheus faketime=faketime,libfaketime \
		redis-server=redis-server,redis-tools,liblzf1,libjemalloc2
	TOLLGATE_TEST_VENV=$(VENV) TOLLGATE_TEST_NODE=$(NODE) $(CARGO) test --locked

bench: rust build-needs ## measure the scan, translation, and the gateway beside nginx
	@sh .ci/need $(NEED_BENCH)
	@sh .ci/unpack $(TOOLS) nginx=nginx
	$(CARGO) bench --locked --bench scan
	$(CARGO) bench --locked --bench translate
	$(CARGO) bench --locked --bench load

lint: rust build-needs ## check format, clippy, docs, shell scripts and the systemd unit
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --document-private-items
	@sh .ci/need $(NEED_LINT)
	bash -n .ci/run
	for script in $(SHELL_SCRIPTS); do sh -n $$script || exit 1; done
	shellcheck --severity=warning .ci/run $(SHELL_SCRIPTS)
	@if command -v systemd-analyze >/dev/null; then sh systemd/verify.sh; \
	else echo 'note: systemd-analyze is not here, so the unit was not verified'; fi

fmt: rust ## format the Rust code
	$(CARGO) fmt

package: rust build-needs ## build dist/tollgate_VERSION_ARCH.deb
	@sh .ci/need $(NEED_PACKAGE)
	$(CARGO) build --release --locked
	sh systemd/debian/build $(TOLLGATE) dist

clean: ## remove everything that was built
	$(CARGO) clean
	rm -rf dist

# Debian 12's cargo is too old for this code, so this one thing is not installed for you.
rust:
	@command -v $(CARGO) >/dev/null || { \
		echo 'error: cargo is missing: install Rust from https://rustup.rs' >&2; exit 1; }

build-needs:
	@sh .ci/need $(NEED_BUILD)

# Stamps: made anew only when a pinned list, or the way to install it, has changed.
$(VENV)/.ready: tests/sdk/requirements.txt .ci/test-env
	@sh .ci/need python3=python3
	sh .ci/test-env venv $(VENV)
	@touch $@

$(NODE)/.ready: tests/sdk/package.json tests/sdk/package-lock.json .ci/test-env
	@sh .ci/need node=nodejs npm=npm
	sh .ci/test-env node $(NODE)
	@touch $@
