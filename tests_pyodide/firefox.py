"""Firefox, driven over WebDriver BiDi, which it speaks itself: no geckodriver is needed.

Invariant: each browser has a new profile, which is removed with it, and reaches no host but this machine.
"""

import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import websocket

STARTING_TIME_LIMIT_S = 60
# What a command may take beyond the time limit of its script.
SPARE_S = 10
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
}
SEVERITIES = {"debug": "DEBUG", "info": "INFO", "warn": "WARNING", "error": "SEVERE"}
CALL = """() => new Promise((resolve) => (function () {
%s
})(resolve)).then((value) => JSON.stringify(value))"""


class Firefox:
    """A headless Firefox that starts with one page, by those of selenium's names that the tests use."""

    def __init__(self, flags: Iterable[str] = (), preferences: Mapping[str, object] | None = None) -> None:
        self.profile = Path(tempfile.mkdtemp(prefix="jobspan-firefox-"))
        wanted = PREFERENCES | dict(preferences or {})
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in wanted.items())
        (self.profile / "user.js").write_text("".join(lines))
        self.logged: list[dict[str, str]] = []
        self.numbers = itertools.count(1)
        self.time_limit_s = 20.0
        self.process = subprocess.Popen(
            [
                shutil.which("firefox-esr") or "firefox",
                *("--headless", "--no-remote", "--profile", self.profile, "--remote-debugging-port", "0", *flags),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self.socket = websocket.create_connection(self._address(), suppress_origin=True)
            self._send("session.new", capabilities={})
            self._send("session.subscribe", events=["log.entryAdded"])
            self.current_window_handle = self._send("browsingContext.getTree")["contexts"][0]["context"]
        except BaseException:
            self._kill()
            raise

    def _address(self) -> str:
        """Wait until Firefox has written where it listens."""
        file = self.profile / "WebDriverBiDiServer.json"
        late = time.monotonic() + STARTING_TIME_LIMIT_S
        while True:
            try:
                server = json.loads(file.read_text())
            except (FileNotFoundError, json.JSONDecodeError):  # not there, or not yet whole
                if self.process.poll() is not None or time.monotonic() > late:
                    raise TimeoutError(f"Firefox has not started: exit code {self.process.poll()}.") from None
                time.sleep(0.05)  # a file can only be looked for
            else:
                return f"ws://{server['ws_host']}:{server['ws_port']}/session"

    def _send(self, method: str, **parameters: object) -> dict:
        """Send a command and return its result."""
        number = next(self.numbers)
        self.socket.settimeout(self.time_limit_s + SPARE_S)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            try:
                answer = json.loads(self.socket.recv())
            except websocket.WebSocketTimeoutException:
                raise TimeoutError(f"Firefox has not answered {method} within {self.time_limit_s} s.") from None
            if answer.get("id") == number:
                break
            if answer.get("method") == "log.entryAdded":
                entry = answer["params"]
                self.logged.append({"level": SEVERITIES[entry["level"]], "message": entry["text"] or ""})
        if answer["type"] == "error":
            raise RuntimeError(f"{method}: {answer['error']}: {answer['message']}")
        return answer["result"]

    def get(self, address: str) -> None:
        self._send("browsingContext.navigate", context=self.current_window_handle, url=address, wait="complete")

    def refresh(self) -> None:
        self._send("browsingContext.reload", context=self.current_window_handle, wait="complete")

    def set_script_timeout(self, seconds: float) -> None:
        self.time_limit_s = seconds

    def execute_async_script(self, script: str) -> object:
        """Run a script in the page and return what it calls its last argument with."""
        answer = self._send(
            "script.callFunction",
            functionDeclaration=CALL % script,
            awaitPromise=True,
            target={"context": self.current_window_handle},
        )
        if answer["type"] == "exception":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        text = answer["result"].get("value")
        return None if text is None else json.loads(text)

    def execute_script(self, script: str) -> object:
        """Run a script in the page and return what it returns."""
        return self.execute_async_script(f"arguments[0]((function () {{\n{script}\n}})())")

    def get_log(self, _kind: str) -> list[dict[str, str]]:
        """What was logged since the last time, by workers too."""
        self._send("browsingContext.getTree")  # its answer comes after all that was logged before
        logged, self.logged = self.logged, []
        return logged

    @property
    def switch_to(self) -> Self:
        return self

    def new_window(self, kind: str) -> None:
        """Open another page before the present one."""
        self.current_window_handle = self._send("browsingContext.create", type=kind)["context"]

    def window(self, handle: str) -> None:
        self._send("browsingContext.activate", context=handle)
        self.current_window_handle = handle

    def close(self) -> None:
        self._send("browsingContext.close", context=self.current_window_handle)

    def quit(self) -> None:
        self.socket.close()
        self._kill()

    def _kill(self) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)  # its own processes may still be writing
