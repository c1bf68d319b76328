"""How functions, arguments and results travel between the caller and the ranks.

Here belongs what is sent by name: a rank loads the module of that name, from the caller's file
where no import finds it (``pytest --import-mode=importlib``, scripts), and keeps it from case to
case. What no name leads to is sent by value, which is cloudpickle's work.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import marshal
import operator
import pickle
import sys
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

try:
    from cloudpickle import Pickler
except ImportError:  # of the extra `testing`
    from pickle import Pickler

# What multiprocessing calls the parent's main module in a child. It is known by that name in
# the parent too, so that results whose class is defined there find their way back.
_MAIN = "__mp_main__"


class Parcel(NamedTuple):
    """A pickled object and where to look for the modules that it needs."""

    path: list[str]
    files: dict[str, str]
    body: bytes


def pack(thing: object) -> Parcel:
    """Return *thing* in a form that :func:`unpack` understands in a process of the same Python."""
    try:
        body, files = pickled(thing)
    # Pickling runs code of the objects: whatever it raises, they cannot travel.
    except Exception as error:
        raise TypeError(
            f"cannot be sent to another process: {error}. Send module-level functions, or "
            "closures over values that can be pickled"
        ) from error
    return Parcel(list(sys.path), files, body)


def unpack(parcel: Parcel) -> Any:
    """Return a copy of what was packed; modules that it names are loaded where they are not yet."""
    # Entries that only this process has stay; the sender's come first.
    sys.path[:] = [*parcel.path, *(entry for entry in sys.path if entry not in parcel.path)]
    for name, file in parcel.files.items():
        _load(name, file)
    return _Unpickler(io.BytesIO(parcel.body)).load()


def pickled(thing: object) -> tuple[bytes, dict[str, str]]:
    """Return *thing* as bytes, and the files of the modules that it names."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    pickler.dump(thing)
    return buffer.getvalue(), pickler.files


class _Pickler(Pickler):  # type: ignore[misc]  # cloudpickle has no types
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.files: dict[str, str] = {}

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, CodeType):
            # cloudpickle leaves out the file, without which a traceback shows no source lines.
            return marshal.loads, (marshal.dumps(obj),)
        if isinstance(obj, ModuleType) and self._module(obj.__name__) is obj:
            return importlib.import_module, (_known_as(obj.__name__),)
        if isinstance(obj, (FunctionType, type)):
            module = self._module(obj.__module__)
            if _is_found(module, obj):
                return NotImplemented  # pickle sends the name
            if isinstance(obj, FunctionType):
                obj = self._to_send(obj, module)
        return NotImplemented if Pickler is pickle.Pickler else super().reducer_override(obj)

    def _module(self, name: str | None) -> ModuleType | None:
        """Return the module *name* if a rank can load it, and note its file."""
        module = sys.modules.get(name or "")
        file = getattr(module, "__file__", None)
        if name is not None and file is not None and file.endswith(".py"):
            self.files[_known_as(name)] = str(Path(file).resolve())
            return module
        # The main module of a notebook has neither, nor has one that a program has made.
        return module if getattr(module, "__spec__", None) is not None else None

    def _to_send(self, function: FunctionType, module: ModuleType | None) -> FunctionType:
        """Return *function*, or a copy that has on a rank the globals of the rank's *module*."""
        if Pickler is pickle.Pickler:
            raise TypeError(
                f"no name leads to {function.__qualname__!r}, and such functions need cloudpickle: "
                'pip install "meshcompat[testing]"'
            )
        if module is None or function.__globals__ is not vars(module):
            return function
        namespace = _Globals(module)
        parts = function.__name__, function.__defaults__, function.__closure__
        copy = FunctionType(function.__code__, namespace, *parts)
        for name in ("__dict__", "__kwdefaults__", "__module__", "__qualname__"):
            setattr(copy, name, getattr(function, name))
        # cloudpickle makes globals of its own, unless it finds some under this key.
        self.globals_ref[id(namespace)] = namespace
        return copy


class _Globals(dict[str, Any]):
    """Stands for the globals of a module, which a rank has itself.

    Its items are sent: names that no source line can spell. pytest puts ``@pytest_ar`` into a
    module whose asserts it rewrites, and without pytest the same module has no such global.
    """

    def __init__(self, module: ModuleType) -> None:
        super().__init__(item for item in vars(module).items() if not item[0].isidentifier())
        self._module = module

    def __reduce__(self) -> tuple[Any, ...]:
        return vars, (self._module,)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        # Not by an import statement: that also imports the folder that the module lies in,
        # and a module that was loaded from its file may lie in none that is a package.
        module = importlib.import_module(_known_as(module_name))
        return operator.attrgetter(global_name)(module)


def _known_as(name: str) -> str:
    return _MAIN if name == "__main__" else name


def _is_found(module: ModuleType | None, thing: Any) -> bool:
    try:
        return operator.attrgetter(thing.__qualname__)(module) is thing
    except AttributeError:
        return False


def _load(name: str, file: str) -> None:
    """Make sure that the module *name* is loaded, from *file* if its name leads elsewhere."""
    loaded = sys.modules.get(name)
    # This process has a main module of its own, which multiprocessing has put under that name.
    if loaded is not None and (name != _MAIN or getattr(loaded, "__file__", None) == file):
        return
    try:
        spec = importlib.util.find_spec(name)
    # ValueError: the module is there but has no spec, as a main module.
    except (ImportError, ValueError):
        spec = None
    if spec is not None and spec.origin is not None and str(Path(spec.origin).resolve()) == file:
        importlib.import_module(name)
        return
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load module {name!r} from {file!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
