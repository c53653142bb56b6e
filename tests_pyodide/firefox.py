"""Firefox, driven by Marionette, the protocol that it speaks itself: geckodriver only translates to it.

Invariant: each browser has a new profile, which is removed with it, and reaches no host but this machine. It is not
WebDriver BiDi, which needs no geckodriver either: in a session of that, `new Worker` in a worker of Firefox 153 now and
then never returns.
"""

import itertools
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

STARTING_TIME_LIMIT_S = 60
# What a command may take beyond the time limit of its script.
SPARE_S = 60
# Everything but this machine is asked for at a proxy that does not exist; what Firefox asks for by itself is off.
PREFERENCES = {
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
    "marionette.port": 0,  # any that is free
    "devtools.console.stdout.content": True,
}


class Firefox:
    """A headless Firefox that starts with one page, by those of selenium's names that the tests use."""

    def __init__(self, flags: Iterable[str] = (), preferences: Mapping[str, object] | None = None) -> None:
        self.profile = Path(tempfile.mkdtemp(prefix="jobspan-firefox-"))
        wanted = PREFERENCES | dict(preferences or {})
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in wanted.items())
        (self.profile / "user.js").write_text("".join(lines))
        self.numbers = itertools.count(1)
        self.time_limit_s = 20.0
        console = self.profile / "console.txt"
        program = shutil.which("firefox-esr") or "firefox"
        with console.open("w") as file:
            self.process = subprocess.Popen(
                [program, "--headless", "--no-remote", "--profile", self.profile, "--marionette", *flags],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.DEVNULL,
            )
        self.console = console.open(errors="replace")
        try:
            self.socket = socket.create_connection(("127.0.0.1", self._port()))
            self.answers = self.socket.makefile("rb")
            self._receive()  # it greets
            self._send("WebDriver:NewSession")
            self.set_script_timeout(self.time_limit_s)
        except BaseException:
            self._kill()
            raise

    def _port(self) -> int:
        """Wait until Firefox has written where it listens."""
        file = self.profile / "MarionetteActivePort"
        late = time.monotonic() + STARTING_TIME_LIMIT_S
        while not (file.is_file() and (port := file.read_text())):
            if self.process.poll() is not None or time.monotonic() > late:
                raise TimeoutError(f"Firefox has not started: exit code {self.process.poll()}.")
            time.sleep(0.05)  # a file can only be looked for
        return int(port)

    def _receive(self) -> object:
        """The next message: its length, a colon, and JSON."""
        size = b""
        while (byte := self.answers.read(1)) != b":":
            if not byte:
                raise ConnectionError("Firefox has ended.")
            size += byte
        return json.loads(self.answers.read(int(size)))

    def _send(self, name: str, **parameters: object) -> dict:
        """Send a command and return its result."""
        message = json.dumps([0, next(self.numbers), name, parameters]).encode()
        self.socket.settimeout(self.time_limit_s + SPARE_S)
        self.socket.sendall(b"%d:%b" % (len(message), message))
        _, _, error, result = self._receive()
        if error:
            raise RuntimeError(f"{name}: {error['error']}: {error['message']}")
        return result

    def get(self, address: str) -> None:
        self._send("WebDriver:Navigate", url=address)

    def refresh(self) -> None:
        self._send("WebDriver:Refresh")

    def set_script_timeout(self, seconds: float) -> None:
        self.time_limit_s = seconds
        self._send("WebDriver:SetTimeouts", script=int(1000 * seconds))

    def execute_async_script(self, script: str) -> object:
        """Run a script in the page and return what it calls its last argument with."""
        return self._run("WebDriver:ExecuteAsyncScript", script)

    def execute_script(self, script: str) -> object:
        """Run a script in the page and return what it returns."""
        return self._run("WebDriver:ExecuteScript", script)

    def _run(self, name: str, script: str) -> object:
        # Marionette runs it beside the page, with a global object of its own.
        own = f"const globalThis = window;\n{script}"
        return self._send(name, script=own, args=[], sandbox=None)["value"]

    def get_log(self, _kind: str) -> list[dict[str, str]]:
        """What was written to the console since the last time, by workers too."""
        return [{"message": line} for line in self.console.read().splitlines()]

    @property
    def current_window_handle(self) -> str:
        return self._send("WebDriver:GetWindowHandle")["value"]

    @property
    def switch_to(self) -> Self:
        return self

    def new_window(self, kind: str) -> None:
        """Open another page before the present one."""
        self.window(self._send("WebDriver:NewWindow", type=kind, focus=True)["handle"])

    def window(self, handle: str) -> None:
        self._send("WebDriver:SwitchToWindow", handle=handle, focus=True)

    def close(self) -> None:
        self._send("WebDriver:CloseWindow")

    def quit(self) -> None:
        self.answers.close()
        self.socket.close()
        self._kill()

    def _kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.console.close()
        shutil.rmtree(self.profile, ignore_errors=True)  # its own processes may still be writing
