"""A digest of the inputs of a training, which is the same in every process."""

import functools
import hashlib
import os
import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
# Callables that are fully described by their code and the values bound to it.
FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial)
# Values in a function's closure that belong to it. Others, such as lists and iterators, may change while
# the function is called, and a training to be resumed would have another digest.
_CONSTANT = (*_PLAIN, *FUNCTIONS, type, tuple, frozenset, np.ndarray, np.generic, torch.Tensor)


def compute_digest(value: Any) -> str:
    """Return a digest of a value: of its content, or of the code of a function."""
    digest = hashlib.sha256()
    for part in _parts(value, []):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any, above: list[Any]) -> Iterator[bytes]:
    """Yield the bytes that identify a value inside of the values `above`."""
    if isinstance(value, np.generic) and not value.dtype.hasobject:
        value = value.item()
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    yield _qualified_name(type(value)).encode()
    if isinstance(value, _PLAIN):
        yield _to_bytes(value)
        return
    if any(value is other for other in above):
        yield b"a part of itself"
        return
    above = [*above, value]
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        yield f"{value.dtype.str} {value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, torch.Tensor):
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        yield value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    elif isinstance(value, torch.nn.Module):
        yield repr(value).encode()
        yield from _parts(dict(value.state_dict()), above)
        yield from _class_parts(type(value), above)
    elif isinstance(value, types.FunctionType):
        yield from _function_parts(value, above)
    elif isinstance(value, type):
        yield from _class_parts(value, above)
    else:
        yield from _item_parts(_list_parts(value), above)


def _item_parts(values: list[Any], above: list[Any]) -> Iterator[bytes]:
    values = [v.item() if isinstance(v, np.generic) else v for v in values]
    yield str(len(values)).encode()
    if all(type(v) is str for v in values) or all(type(v) is bytes for v in values):
        encoded = [_to_bytes(v) for v in values]  # together, because there may be millions of texts
        yield np.array([len(text) for text in encoded], dtype=np.int64).tobytes()
        yield b"".join(encoded)
        return
    for value in values:
        yield from _parts(value, above)


def _list_parts(value: Any) -> list[Any]:
    """Return the values that an object consists of."""
    if isinstance(value, np.ndarray):
        return [value.shape, value.tolist()]
    if isinstance(value, (list, tuple)):
        return [*value]
    if isinstance(value, (set, frozenset)):
        return sorted(compute_digest(item) for item in value)
    if isinstance(value, Mapping):
        return sorted((compute_digest(key), compute_digest(item)) for key, item in value.items())
    if isinstance(value, BaseEstimator):
        return [vars(value)]
    if is_dataclass(value):
        return [type(value), {field.name: getattr(value, field.name) for field in fields(value)}]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, types.ModuleType):
        return [value.__name__]
    if isinstance(value, types.CodeType):
        names = (value.co_names, value.co_varnames, value.co_freevars)
        return [value.co_code, [*value.co_consts], *names]
    if isinstance(value, (types.BuiltinFunctionType, np.ufunc)):
        return [getattr(value, "__module__", None) or "", value.__name__]
    try:
        reduced = value.__reduce_ex__(4)
    except Exception as error:  # a method of the user may raise anything
        raise TypeError(
            f"checkpoint_dir requires that all inputs of a training can be pickled, but {value!r} "
            "cannot be. Pass something else, or checkpoint_dir=None."
        ) from error
    if isinstance(reduced, str):
        return [reduced]
    items = [None if part is None else list(part) for part in reduced[3:5]]
    return [type(value), *reduced[1:3], *items]


def _function_parts(function: types.FunctionType, above: list[Any]) -> Iterator[bytes]:
    yield _qualified_name(function).encode()
    bound: dict[str, Any] = {
        "defaults": function.__defaults__,
        "keyword defaults": sorted((function.__kwdefaults__ or {}).items()),
    }
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        content = cell.cell_contents if _is_filled(cell) else None
        if isinstance(content, _CONSTANT) or is_dataclass(content):
            bound[name] = content
    # Functions and classes of the same module, which the function may call.
    for name in _global_names(function.__code__):
        called = function.__globals__.get(name)
        is_local = getattr(called, "__module__", None) == function.__module__
        if is_local and isinstance(called, (types.FunctionType, type)):
            bound[f"global {name}"] = called
    yield from _item_parts([function.__code__], above)
    for name in sorted(bound):
        yield name.encode()
        yield from _parts(bound[name], above)


def _class_parts(cls: type, above: list[Any]) -> Iterator[bytes]:
    yield _qualified_name(cls).encode()
    above = above if any(cls is other for other in above) else [*above, cls]
    for base in cls.__mro__:
        for name, value in sorted(vars(base).items()):
            function = getattr(value, "__func__", getattr(value, "fget", value))
            if isinstance(function, types.FunctionType):
                yield name.encode()
                yield from _item_parts([function.__code__], above)


def _global_names(code: types.CodeType) -> list[str]:
    """Return the global names in a function's code and in that of functions inside it."""
    inner = [_global_names(part) for part in code.co_consts if isinstance(part, types.CodeType)]
    return sorted({*code.co_names, *(name for names in inner for name in names)})


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # the cell of a function that is still being defined
        return False


def _qualified_name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _to_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else repr(value)).encode("utf-8", "surrogatepass")
