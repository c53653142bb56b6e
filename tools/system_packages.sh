#!/bin/sh
# Install what only the system can bring: a Python that can make virtual environments, Chromium and its driver, Firefox.
# Does nothing where they are there; where they cannot be installed it says what is left out, and goes on.

cd "$(dirname "$0")" || exit 1
python=
chromium=
firefox=
[ -x ../.venv/bin/python ] || ./find_python.sh >/dev/null 2>&1 || python="python3 python3-venv"
{ command -v chromium && command -v chromedriver; } >/dev/null || chromium="chromium chromium-driver"
command -v firefox-esr >/dev/null || firefox=firefox-esr
[ -n "$python$chromium$firefox" ] || exit 0

can_install=
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -q && can_install=1
fi

# One after the other: a package that a distribution does not have must not keep the others away.
install() {
    [ -n "$1" ] || return 0
    if [ -n "$can_install" ]; then
        echo "Installing with apt-get: $1"
        # shellcheck disable=SC2086  # a list of names
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $1 && return 0
    fi
    echo "NOT INSTALLED: $1 (this needs root and an apt-get that has it). $2" >&2
}

install "$python" "Without Python 3.11 or newer nothing can be made."
install "$chromium" "Without Chromium its tests and its rows of the table are left out."
install "$firefox" "Without Firefox its tests are left out."
exit 0
