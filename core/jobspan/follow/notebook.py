"""Shows progress below a cell of a notebook, with a button that ends the run where nothing else could.

A kernel of one's own machine is interrupted by the notebook's own button. In JupyterLite that does nothing: the kernel
is a Web Worker, which hears nothing of its page while a cell runs, but what comes on a channel while it waits.

Invariant: what is left when the run is over is the last line; no button outlives the run that it would end.
"""

from __future__ import annotations

from html import escape
from typing import Any

from jobspan.follow.progress import Progress

_ROW = (
    '<div style="display: flex; align-items: center; gap: 0.8em; font-family: monospace; white-space: pre-wrap">'
    '<progress style="width: 20em; flex: none" max="{most}"{value}></progress><span>{words}</span></div>'
)
# In an output of its own, so that it stays the same element, under the mouse and in focus, while the line changes.
_BUTTON = (
    '<button type="button" class="jobspan-stop" title="End this run, as an interrupt would" '
    "onclick=\"this.disabled = true; this.textContent = 'Stopping'; "
    "const channel = new BroadcastChannel('{channel}'); channel.postMessage('stop'); channel.close()\">Stop</button>"
)


def has_shell() -> bool:
    """Whether IPython is what runs the cells, so that there is somewhere to show HTML."""
    import sys

    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


class Cell:
    """The output of one run below its cell: a line that changes, and a button while it may be needed."""

    def __init__(self) -> None:
        from IPython.display import display

        from jobspan.web.stopping import find_channel

        self._display = display
        self._line: Any = None
        self._button: Any = None
        self._channel = find_channel()

    def show(self, progress: Progress, words: str, line: str) -> None:
        """Show a line, instead of the one before."""
        known = progress.total is not None
        most = max(1, progress.total or 0)
        value = f' value="{progress.finished}"' if known else ""
        shown = {"text/html": _ROW.format(most=most, value=value, words=escape(words)), "text/plain": line}
        if self._line is None:
            self._line = self._display(shown, raw=True, display_id=True)
            self._show_button()
        else:
            self._line.update(shown, raw=True)

    def _show_button(self) -> None:
        if self._channel is not None:
            html = _BUTTON.format(channel=self._channel.name)
            self._button = self._display({"text/html": html, "text/plain": ""}, raw=True, display_id=True)

    def close(self) -> None:
        """Take the button away."""
        if self._channel is not None:
            self._channel.close()
        if self._button is not None:
            self._button.update({"text/html": "", "text/plain": ""}, raw=True)
