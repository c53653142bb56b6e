#!/bin/sh
# Build a free-threaded CPython from Debian's source package and keep it: build_nogil_python.sh [FOLDER]
# FOLDER is ${XDG_CACHE_HOME:-$HOME/.cache}/jobspan/python3.13t unless given. Does nothing where it is there already.
# The source comes through apt, from the mirror of the machine's own apt sources, with a state of its own, so that those
# stay as they are; apt checks its signature. Takes 3 to 20 minutes, and 400 MB of $TMPDIR while it runs.
# SERIES (3.13) names the version, JOBS (all CPUs) how many compilers run at a time.
set -eu

series=${SERIES:-3.13}
target=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/jobspan/python${series}t}
python=$target/bin/python${series}t
# What configure and make need, and the headers without which modules of the standard library are left out.
needed="build-essential pkg-config xz-utils dpkg-dev libssl-dev libffi-dev zlib1g-dev libbz2-dev liblzma-dev libsqlite3-dev"
suites="sid forky trixie" # the first that has this version; sid has the newest

give_up() {
    printf '%s\n' "$@" \
        "Any free-threaded CPython >= 3.13 on PATH or in pyenv is used as well (pyenv install ${series}t)." >&2
    exit 1
}

check() {
    "$python" -I -c "import bz2, ctypes, lzma, sqlite3, ssl, sys, venv, zlib; sys.exit(sys._is_gil_enabled())"
}

if [ -x "$python" ] && check; then
    echo "$python is there: $("$python" -VV)"
    exit 0
fi

command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
    give_up "Building Python ${series}t needs apt-get, which this machine does not have."

missing=
for package in $needed; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    [ "$(id -u)" = 0 ] ||
        give_up "Building Python ${series}t needs packages that only root can install:" "  apt-get install$missing"
    echo "Installing with apt-get:$missing"
    apt-get -q -o DPkg::Lock::Timeout=600 update >/dev/null
    # shellcheck disable=SC2086  # a list of names
    DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o DPkg::Lock::Timeout=600 install --no-install-recommends $missing >/dev/null
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/source" "$work/build"

# shellcheck disable=SC2016  # apt fills this in
apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' >"$work/mirrors"
read -r mirror <"$work/mirrors" ||
    give_up "No Debian mirror is among the sources of apt (apt-get indextargets); run apt-get update first."
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$keyring" ] || keyring=

cat >"$work/apt.conf" <<END
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$work/apt/lists";
Dir::Cache "$work/apt/cache";
APT::Sandbox::User "root";
END
cd "$work"
archive=
for suite in $suites; do
    echo "deb-src ${keyring:+[signed-by=$keyring] }$mirror $suite main" >"$work/sources.list"
    if {
        APT_CONFIG=$work/apt.conf apt-get -qq update &&
            APT_CONFIG=$work/apt.conf apt-get -qq source --download-only --tar-only "python$series"
    } 2>>"$work/log"; then
        archive=$(ls "python${series}"_*.orig.tar.xz)
        break
    fi
    rm -f "python${series}"_*
done
[ -n "$archive" ] || {
    cat "$work/log" >&2
    give_up "None of Debian's suites $suites at $mirror gave the source of Python $series."
}

echo "Building $archive for $target"
tar -xJf "$archive" --strip-components=1 -C source
cd build
# Without test modules: installing would byte-compile hundreds of files three times.
../source/configure -q --disable-gil --disable-test-modules --with-ensurepip=install --prefix="$target" >/dev/null
make -s -j"${JOBS:-$(nproc)}" >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2 && give_up "The build failed."; }
make -s install DESTDIR="$work/root" >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2 && give_up "Installing failed."; }
# Moved as a whole at the end: what is there is complete.
mkdir -p "${target%/*}"
rm -rf "$target"
mv "$work/root$target" "$target"
check || give_up "The Python that was built at $target lacks a module that the tests need (named above)."
echo "$python: $("$python" -VV)"
