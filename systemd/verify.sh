#!/bin/sh
# Usage: systemd/verify.sh
#
# Holds the unit to its word, on any machine with systemd-analyze: no running systemd,
# no root, no installed tollgate. Fails on
#   - anything `systemd-analyze verify` says about the unit, alone or with a drop-in,
#   - an exposure above 2.0 in `systemd-analyze security`, alone or with a drop-in.
#
# `verify` looks for the binaries of Exec lines and for the units of After=. Both are put
# into a scratch root, so that neither this machine's units nor a missing /usr/bin/tollgate
# can change the answer.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
worst_exposure=20 # tenths

command -v systemd-analyze >/dev/null || {
    echo "verify.sh: systemd-analyze is missing (Debian: apt-get install systemd)" >&2
    exit 1
}

# Prints a new root directory's path: the unit, the binaries and the units it names.
scratch_root() {
    root=$(mktemp -d)
    units=$root/usr/lib/systemd/system
    mkdir -p "$root/usr/bin" "$root/usr/share/man/man1" "$units"
    # Merged /usr, as Debian has had it since 12: ExecReload says /bin/kill.
    ln -s usr/bin "$root/bin"
    for binary in tollgate kill; do
        printf '#!/bin/sh\n' >"$root/usr/bin/$binary"
        chmod 755 "$root/usr/bin/$binary"
    done
    for name in sysinit basic shutdown network-online nss-lookup multi-user; do
        printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' "$name" >"$units/$name.target"
    done
    cp "$here/tollgate.service" "$units/"
    echo "$root"
}

# verify ROOT NAME: `systemd-analyze verify` must say nothing and exit 0.
# --man=no: the man page is generated from the binary and is not here yet.
verify() {
    if ! said=$(systemd-analyze verify --man=no --root="$1" tollgate.service 2>&1) || [ -n "$said" ]; then
        echo "verify.sh: systemd-analyze verify, $2:" >&2
        echo "$said" >&2
        return 1
    fi
}

# exposure ROOT NAME: at most worst_exposure, or the lines that raise it.
exposure() {
    report=$(systemd-analyze security --offline=true --no-pager --root="$1" \
        --threshold="$worst_exposure" tollgate.service 2>&1) || {
        echo "verify.sh: exposure of $2 is above $worst_exposure tenths:" >&2
        echo "$report" | grep -v "^✓" >&2
        return 1
    }
    echo "$report" | sed -n "s/^.*Overall exposure level for tollgate.service: \([0-9.]*\).*/$2: exposure \1/p"
}

# with DROP-IN: a scratch root whose unit has it.
with() {
    root=$(scratch_root)
    mkdir "$root/usr/lib/systemd/system/tollgate.service.d"
    cp "$here/$1" "$root/usr/lib/systemd/system/tollgate.service.d/"
    echo "$root"
}

plain=$(scratch_root)
edge=$(with edge.conf)
cloud=$(with cloud.conf)
trap 'rm -rf -- "$plain" "$edge" "$cloud"' EXIT

verify "$plain" tollgate.service
verify "$edge" "tollgate.service with edge.conf"
verify "$cloud" "tollgate.service with cloud.conf"
exposure "$plain" tollgate.service
exposure "$edge" "tollgate.service with edge.conf"
exposure "$cloud" "tollgate.service with cloud.conf"
