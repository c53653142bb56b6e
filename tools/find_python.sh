#!/bin/sh
# Print the path of the best Python on this machine: the highest version >= 3.11 with the GIL that can make a
# virtual environment; with --all, of the best of each minor version. Looked for on PATH and among pyenv's versions,
# which need not be "activated". With --nogil [FOLDER], the highest free-threaded one >= 3.13, in FOLDER too.
# Works with an empty HOME: pyenv's root is also derived from the pyenv, or the shims folder, found on PATH.

wants_nogil=
[ "${1:-}" != --nogil ] || wants_nogil=1

candidates() {
    [ -z "$1" ] || ls -d "$1"/bin/python3.*t 2>/dev/null
    for name in python3.15t python3.14t python3.13t python3.15 python3.14 python3.13 python3.12 python3.11 python3; do
        command -v "$name"
    done
    pyenv_command=$(command -v pyenv 2>/dev/null)
    [ -n "$pyenv_command" ] && pyenv_command=$(readlink -f "$pyenv_command")
    shims=$(printf '%s\n' "$PATH" | tr ':' '\n' | grep '/shims/*$')
    around_shims=$(printf '%s\n' "$shims" | sed 's|/shims/*$||')
    for root in "$PYENV_ROOT" "$HOME/.pyenv" "${pyenv_command%/*/*}" $around_shims; do
        [ -n "$root" ] && ls -d "$root"/versions/*/bin/python3 2>/dev/null
    done
}

# Prints "major.minor.micro path" if this Python qualifies. sys._base_executable looks through shims and
# through an active virtual environment, whose Python may vanish with it.
describe() {
    "$1" -I -c '
import sys, sysconfig
is_nogil = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
if sys.version_info < (3, 11) or is_nogil != bool(sys.argv[1]):
    sys.exit(1)
import ensurepip, ssl, venv
print("%d.%d.%d" % sys.version_info[:3], sys._base_executable)
' "$wants_nogil" 2>/dev/null
}

can_make_venv() {
    folder=$(mktemp -d) || return 1
    "$1" -m venv --without-pip "$folder/venv" >/dev/null 2>&1 && "$folder/venv/bin/python" -c "" 2>/dev/null
    status=$?
    rm -rf "$folder"
    return $status
}

for python in $(candidates "${2:-}" | sort -u); do
    describe "$python"
done | sort -u | sort -t. -k1,1nr -k2,2nr -k3,3nr | {
    found=
    while read -r version python; do
        case " $found " in *" ${version%.*} "*) continue ;; esac
        can_make_venv "$python" || continue
        echo "$python"
        found="$found ${version%.*}"
        [ "${1:-}" = --all ] || exit 0
    done
    [ -z "$found" ] || exit 0
    if [ -n "$wants_nogil" ]; then
        echo "No free-threaded Python was found on PATH, in pyenv${2:+ or in $2}; make nogil-python builds one." >&2
        exit 1
    fi
    echo "No Python >= 3.11 that can make a virtual environment was found on PATH or in pyenv." >&2
    echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv)," >&2
    echo "or name it: make PYTHON=/path/to/python3 ..." >&2
    exit 1
}
