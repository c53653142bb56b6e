#!/bin/sh
# Install what only the system can bring: a Python that can make virtual environments, Chromium and its driver.
# Does nothing where they are there; where they cannot be installed it says what is left out, and goes on.

cd "$(dirname "$0")" || exit 1
wanted=
[ -x ../.venv/bin/python ] || ./find_python.sh >/dev/null 2>&1 || wanted="python3 python3-venv"
{ command -v chromium && command -v chromedriver; } >/dev/null || wanted="$wanted chromium chromium-driver"
[ -n "$wanted" ] || exit 0

if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "Installing with apt-get: $wanted"
    # shellcheck disable=SC2086  # a list of names
    apt-get update -q &&
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $wanted && exit 0
fi
echo "NOT INSTALLED: $wanted (this needs root and apt-get)." >&2
echo "Without Chromium its tests and its rows of the table are left out." >&2
