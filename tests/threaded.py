"""A backend as third parties wrote them for joblib: a class on a few threads of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jobspan import ParallelBackendBase


class Threaded(ParallelBackendBase):
    supports_retrieve_callback = True
    threads = 2

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sent = 0

    def effective_n_jobs(self, n_jobs: int) -> int:
        return self.threads if n_jobs == -1 else min(n_jobs, self.threads)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **kwargs: Any) -> int:
        self.parallel, self.kwargs = parallel, kwargs
        self.pool = ThreadPoolExecutor(self.threads)
        return self.effective_n_jobs(n_jobs)

    def submit(self, func: Callable[[], Any], callback: Any = None) -> Any:
        self.sent += 1
        future = self.pool.submit(func)
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        return out.result()

    def terminate(self) -> None:
        self.pool.shutdown()
