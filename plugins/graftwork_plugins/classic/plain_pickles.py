"""Read a pickle of plain values and byte arrays without unpickling it: nothing that it names is imported or called.

`pickletools` takes the stream apart into instructions; this is a machine for those that CIFAR's files use (pickle
protocols 2 to 4). numpy's three constructors are stood in for by two classes here, so that not even numpy sees what the
file wants it to build.
"""

from __future__ import annotations

import math
import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from graftwork.errors import DataError

ARRAY, KIND, ENCODE = "an array", "a kind of numbers", "bytes that were text"
KNOWN = {
    "numpy.core.multiarray _reconstruct": ARRAY,
    "numpy._core.multiarray _reconstruct": ARRAY,
    "numpy ndarray": "ndarray",
    "numpy dtype": KIND,
    "_codecs encode": ENCODE,
}
LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE",
    "BINBYTES", "SHORT_BINBYTES",
}  # fmt: skip
CONSTANTS: dict[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY: dict[str, Callable[[], object]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
MOST_INSTRUCTIONS = 2_000_000  # CIFAR-100's training file has 300,000; an empty list takes 56 bytes for one
MOST_SIDES = 4  # of an array; the product of very many numbers takes long
MARK = object()
T = TypeVar("T")


class Refused(Exception):  # noqa: N818  # it isn't shown; it becomes a DataError
    """What was found that must not be there."""


@dataclass(frozen=True)
class Name:
    """One of the known constructors, which is never called."""

    meaning: str


@dataclass
class Kind:
    """What numpy would make a dtype of: its name."""

    name: object


@dataclass
class Array:
    """What numpy would make an array of; `values` is there once its state has been read."""

    values: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, dtype=np.uint8))

    def fill(self, state: object) -> None:
        """Take numpy's state: version, shape, kind, order, bytes."""
        match state:
            case (1, tuple(shape), Kind(name="u1" | "|u1"), False, bytes() as content) if len(shape) <= MOST_SIDES:
                if all(type(side) is int and side > 0 for side in shape) and math.prod(shape) == len(content):
                    self.values = np.frombuffer(content, dtype=np.uint8).reshape(shape)
                    return
        raise Refused("an array that isn't of unsigned bytes, or whose bytes don't fill its shape")


def read_pickle(content: bytes, where: str) -> object:
    """Return dicts, lists, tuples, numbers, texts, bytes and `Array`s. Python 2's strings come as text, by latin-1.

    Raises DataError for anything else, naming it, and for a damaged file.
    """
    try:
        return _Machine().run(content)
    except Refused as refused:
        raise DataError(
            f"The pickle holds {refused}; it was not executed", where=where,
            expected="dicts, lists, texts, numbers and arrays of bytes", fix="take the file from its own site",
        ) from None  # fmt: skip
    except (ValueError, IndexError, KeyError, TypeError, struct.error, OverflowError) as error:
        raise DataError(f"The pickle is damaged: {error}", where=where, fix="fetch it anew") from None


class _Machine:
    """The stack machine. Nothing nested is ever hashed, compared or shown: that recurses, or expands what is shared."""

    def __init__(self) -> None:
        self.stack: list[object] = []
        self.memory: dict[int, object] = {}
        self.room = 0  # bytes that texts may still become: a text that is used again and again would fill the memory

    def run(self, content: bytes) -> object:
        self.room = len(content)
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count == MOST_INSTRUCTIONS:
                raise Refused(f"more than {MOST_INSTRUCTIONS:,} instructions")
            if opcode.name == "STOP":
                (value,) = self._pop(len(self.stack))
                return value
            self._step(opcode.name, argument)
        raise ValueError("it doesn't end")  # genops has said so itself

    def _step(self, name: str, argument: object) -> None:
        if name in LITERALS:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in EMPTY:
            self.stack.append(EMPTY[name]())
        elif name in TUPLES:
            self.stack.append(tuple(self._pop(TUPLES[name])))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memory[len(self.memory) if argument is None else _number(argument)] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memory[_number(argument)])
        elif name == "MARK":
            self.stack.append(MARK)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self.stack.append(_known(argument if name == "GLOBAL" else self._dotted()))
        elif name not in ("PROTO", "FRAME"):
            self._combine(name)

    def _combine(self, name: str) -> None:
        """Carry out an instruction that puts values together."""
        if name == "TUPLE":
            self.stack.append(tuple(self._since_mark()))
        elif name in ("APPEND", "APPENDS"):
            items = self._since_mark() if name == "APPENDS" else self._pop(1)
            _of(list, self.stack[-1]).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            pairs = self._since_mark() if name == "SETITEMS" else self._pop(2)
            _of(dict, self.stack[-1]).update(zip(map(_key, pairs[::2]), pairs[1::2], strict=True))
        elif name == "REDUCE":
            constructor, arguments = self._pop(2)
            self.stack.append(self._made(constructor, arguments))
        elif name == "BUILD":
            (state,) = self._pop(1)
            if isinstance(self.stack[-1], Array):
                self.stack[-1].fill(self._as_bytes(state))
            elif not isinstance(self.stack[-1], Kind):
                raise Refused("a state for something that has none")
        else:
            raise Refused(f"the instruction {name}")

    def _pop(self, count: int) -> list[object]:
        place = len(self.stack) - count
        if place < 0 or MARK in self.stack[place:]:
            raise ValueError("it takes more than it has")
        return self._cut(place)

    def _since_mark(self) -> list[object]:
        for place in reversed(range(len(self.stack))):
            if self.stack[place] is MARK:
                return self._cut(place)[1:]
        raise ValueError("it ends a group that it didn't begin")

    def _cut(self, place: int) -> list[object]:
        taken = self.stack[place:]
        del self.stack[place:]
        return taken

    def _dotted(self) -> str:
        """Take a module's and a name's text off the stack."""
        return " ".join(_of(str, part) for part in self._pop(2))

    def _made(self, constructor: object, arguments: object) -> object:
        match constructor, arguments:
            case Name(meaning="an array"), tuple():
                return Array()
            case Name(meaning="a kind of numbers"), (name, *_):
                return Kind(name)
            case Name(meaning="bytes that were text"), (str() as text, "latin1"):
                return self._encoded(text)
        raise Refused("a call of something that isn't a known constructor")

    def _as_bytes(self, state: object) -> object:
        """Return an array's state with the content as bytes: Python 2's strings come as text."""
        match state:
            case (version, shape, kind, order, str() as content):
                return version, shape, kind, order, self._encoded(content)
        return state

    def _encoded(self, text: str) -> bytes:
        self.room -= len(text)
        if self.room < 0:
            raise Refused("one text as bytes so often that they are more than the file has")
        return text.encode("latin-1")


def _known(name: object) -> Name:
    if name not in KNOWN:
        raise Refused(f"the name {str(name).replace(' ', '.')!r}")
    return Name(KNOWN[str(name)])


def _number(value: object) -> int:
    return _of(int, value)


def _key(value: object) -> object:
    if not isinstance(value, str | bytes | int):
        raise Refused(f"a {type(value).__name__} as a key")
    return value


def _of(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise Refused(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value
