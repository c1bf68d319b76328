"""How a function and its arguments travel to the ranks.

Here belongs pickling with two additions. Modules travel by name *and* file, since a test module
is often found by its file only (``pytest --import-mode=importlib``, scripts). Functions that no
name leads to (lambdas, closures) travel as code with the values that they closed over.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import io
import marshal
import pickle
import sys
from pathlib import Path
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

# What multiprocessing calls the parent's main module in a child. It is known by that name in
# the parent too, so that results whose class is defined there find their way back.
_MAIN = "__mp_main__"


class Parcel(NamedTuple):
    """A pickled object and where to look for the modules that it needs."""

    path: list[str]
    files: dict[str, str]
    body: bytes


def pack(thing: object) -> Parcel:
    """Return *thing* in a form that :func:`unpack` understands in another process.

    Args:
        thing: Anything that pickle takes, and functions of any kind.

    Returns:
        The parcel, made of builtin types only.

    Raises:
        TypeError: Something in *thing* cannot travel.

    Collective:
        No.

    Example:
        >>> unpack(pack(lambda: 7))()
        7
    """
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    try:
        pickler.dump(thing)
    # Pickling runs code of the objects: whatever it raises, they cannot travel.
    except Exception as error:
        raise TypeError(
            f"cannot be sent to another process: {error}. Send module-level functions, or "
            "closures over values that can be pickled"
        ) from error
    return Parcel(list(sys.path), pickler.files, buffer.getvalue())


def unpack(parcel: Parcel) -> Any:
    """Return what was packed.

    Args:
        parcel: From :func:`pack`, by a process of the same Python.

    Returns:
        A copy of the packed object. Functions and classes that a name leads to are those of
        this process's modules, which are loaded where they are not yet.

    Collective:
        No.
    """
    # Entries that only this process has stay; the sender's come first.
    sys.path[:] = [*parcel.path, *(entry for entry in sys.path if entry not in parcel.path)]
    for name, file in parcel.files.items():
        _load(name, file)
    return _Unpickler(io.BytesIO(parcel.body)).load()


class _Pickler(pickle.Pickler):
    """Pickle functions without a name as code; note the files of all modules named."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.files: dict[str, str] = {}

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, (FunctionType, type)):
            self._note(obj.__module__)
        if isinstance(obj, FunctionType) and not _is_found_by_name(obj):
            return _function, _parts(obj)
        if isinstance(obj, ModuleType):
            return importlib.import_module, (obj.__name__,)
        return NotImplemented

    def _note(self, name: str | None) -> None:
        file = getattr(sys.modules.get(name or ""), "__file__", None)
        if name is not None and file is not None and file.endswith(".py"):
            self.files[_known_as(name)] = str(Path(file).resolve())


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        # Not by an import statement: that also imports the folder that the module lies in,
        # and a module that was loaded from its file may lie in none that is a package.
        found: Any = importlib.import_module(_known_as(module_name))
        for name in global_name.split("."):
            found = getattr(found, name)
        return found


def _known_as(name: str) -> str:
    return _MAIN if name == "__main__" else name


def _is_found_by_name(function: FunctionType) -> bool:
    found: object = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is function


def _parts(function: FunctionType) -> tuple[Any, ...]:
    """Take *function* apart into what :func:`_function` puts together."""
    code = function.__code__
    module = sys.modules.get(function.__module__ or "")
    # Doctests, notebooks and exec have globals that no rank can load by name.
    is_of_module = function.__globals__ is getattr(module, "__dict__", None) and hasattr(
        module, "__file__"
    )
    return (
        marshal.dumps(code),
        _known_as(function.__module__) if is_of_module else None,
        _globals_to_send(code, function.__globals__, is_of_module=is_of_module),
        function.__qualname__,
        function.__defaults__,
        function.__kwdefaults__,
        [cell.cell_contents for cell in function.__closure__ or ()],
    )


def _function(  # noqa: PLR0917  (the parts that a function has)
    code: bytes,
    module_name: str | None,
    global_values: dict[str, Any],
    qualname: str,
    defaults: tuple[Any, ...] | None,
    kwdefaults: dict[str, Any] | None,
    cells: list[Any],
) -> FunctionType:
    namespace = (
        {"__builtins__": builtins}
        if module_name is None
        else vars(importlib.import_module(module_name))
    )
    namespace.update(global_values)
    closure = tuple(CellType(value) for value in cells)
    function = FunctionType(marshal.loads(code), namespace, None, defaults, closure)  # noqa: S302
    function.__qualname__ = qualname
    function.__kwdefaults__ = kwdefaults
    return function


def _globals_to_send(
    code: CodeType, namespace: dict[str, Any], *, is_of_module: bool
) -> dict[str, Any]:
    """Return the globals that *code* reads and that are not those of a module on the rank.

    Of a module's function these are what a rewriter of its code put where no source line can
    name it: pytest's assertion rewriting reads the global ``@pytest_ar``, which the same module
    has not when it is loaded without pytest.
    """
    found = {
        name: namespace[name]
        for name in code.co_names
        if name in namespace and not (is_of_module and name.isidentifier())
    }
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found.update(_globals_to_send(constant, namespace, is_of_module=is_of_module))
    return found


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
