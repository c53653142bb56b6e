"""A backend of one's own, registered by name: in today's style and in the older one with apply_async."""

from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool

from joblib import Parallel, ParallelBackendBase, delayed, effective_n_jobs, parallel_config, register_parallel_backend
from joblib.parallel import AutoBatchingMixin

calls = []


class ExecutorBackend(ParallelBackendBase):
    supports_retrieve_callback = supports_sharedmem = uses_threads = True
    pool_class = ThreadPoolExecutor

    def __init__(self, name="unnamed", **kwargs):
        super().__init__(**kwargs)
        self.name = name

    def effective_n_jobs(self, n_jobs):
        return 3 if n_jobs in (None, -1) else n_jobs

    def configure(self, n_jobs=1, parallel=None, **backend_kwargs):
        self.parallel = parallel
        n_jobs = self.effective_n_jobs(n_jobs)
        calls.append(f"{self.name} configured for {n_jobs}")
        self.pool = self.pool_class(n_jobs)
        return n_jobs

    def terminate(self):
        calls.append(f"{self.name} terminated")
        self.pool.__exit__(None, None, None)

    def submit(self, func, callback=None):
        future = self.pool.submit(func)
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out):
        return out.result()


class OldStyleBackend(AutoBatchingMixin, ExecutorBackend):
    supports_retrieve_callback = False
    pool_class = ThreadPool
    submit = ParallelBackendBase.submit  # which calls apply_async

    def apply_async(self, func, callback=None):
        return self.pool.apply_async(func, callback=callback)


for name, factory in {"modern": ExecutorBackend, "old": OldStyleBackend}.items():
    register_parallel_backend(name, factory)
    print(Parallel(n_jobs=2, backend=name)(delayed(pow)(i, 2) for i in range(8)))
    with parallel_config(backend=name, name="mine"):
        print(effective_n_jobs(-1), effective_n_jobs(2), Parallel(n_jobs=2)(delayed(abs)(-i) for i in range(5)))
    try:
        Parallel(n_jobs=2, backend=factory(name="given"))(delayed(int)(text) for text in ("1", "x"))
    except ValueError as error:
        print(error)
print(sorted(set(calls)))
