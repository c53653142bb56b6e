"""The contract, on every backend."""

from __future__ import annotations

from typing import Any

import pytest

from jobspan.settle import find_backend
from jobspan.testing import BackendContract


class TestEveryBackend(BackendContract):
    @pytest.fixture
    def backend(self, backend: Any) -> Any:  # the fixture of conftest, as an object
        return find_backend(backend, 2)
