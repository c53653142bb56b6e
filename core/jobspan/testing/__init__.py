"""What third parties need to test their backends, and our own tests to test ours."""

from jobspan.testing.contract import BackendContract
from jobspan.testing.scripted import ScriptedBackend, ScriptedSession

__all__ = ["BackendContract", "ScriptedBackend", "ScriptedSession"]
