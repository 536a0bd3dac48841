"""Single-instruction arithmetic for numba: the type `Quad`, four of the processor's widest registers side by side.

Numba leaves vectorisation to LLVM, which gives up on the scan's inner loop: its arrays might overlap, so the
state would be written back after every product. Here a vector is a value like any other: it lives in
registers, and a loop over time keeps it there. Four at once, because each step is a chain of a dozen products
that wait for one another; the processor fills the waits of one with the other three.

A register holds one state, or one step, of `LANES` channels; a quad four states, or four steps, of them.
Products and sums may fuse, nothing else may be reordered: `power_of_two` relies on the rounding of an addition.
"""

# Numba and llvmlite are only partly typed: what mypy knows of them is less than what they take.
# mypy: disable-error-code="misc,no-untyped-call,untyped-decorator,no-any-return"
# Numba reads the names of an intrinsic's arguments; what builds it takes them as one tuple.
# ruff: noqa: ARG001

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

LANES = 16 if binding.get_host_cpu_features().get("avx512f", False) else 8
"""Channels that one vector holds: 512 bits where the processor has them, else 256 (AVX2, or two of NEON)."""

WIDTH = 4 * LANES
"""Elements of a quad."""

_REGISTER = ir.VectorType(ir.FloatType(), LANES)
_QUAD = ir.VectorType(ir.FloatType(), WIDTH)
_BITS = ir.VectorType(ir.IntType(32), WIDTH)
_FUSE = ("contract",)


class Quad(types.Type):
    """Numba's type of a vector of 4 × `LANES` float32."""

    def __init__(self) -> None:
        super().__init__(name=f"Quad({LANES})")


quad = Quad()


@register_model(Quad)
class _QuadModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Quad) -> None:
        super().__init__(dmm, fe_type, _QUAD)


def _shuffle(builder: ir.IRBuilder, left: ir.Value, right: ir.Value, picks: list[int]) -> ir.Value:
    return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(ir.IntType(32), len(picks)), picks))


def _same(constant: float) -> ir.Constant:
    return ir.Constant(_QUAD, [constant] * WIDTH)


def _element_pointer(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value, offset: ir.Value) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [offset])


def _pointer(
    context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value, offset: ir.Value, vector: ir.Type = _QUAD
) -> ir.Value:
    """The address of the vector that begins at an element of the array's memory; nothing is checked."""
    return builder.bitcast(_element_pointer(context, builder, kind, array, offset), vector.as_pointer())


@intrinsic
def load(_typing: Any, array: Any, offset: Any) -> Any:
    """The vector at element ``offset`` of a float32 array's memory, whatever the array's shape."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        return builder.load(pointer, align=4)

    return quad(array, types.intp), build


@intrinsic
def store(_typing: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write a vector at element ``offset`` of a float32 array's memory."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        builder.store(arguments[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, quad), build


@intrinsic
def broadcast(_typing: Any, scalar: Any) -> Any:
    """A quad with ``scalar`` (taken as float32) in every lane."""

    def build(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> ir.Value:
        empty = ir.Constant(_QUAD, ir.Undefined)
        first = builder.insert_element(empty, arguments[0], ir.IntType(32)(0))
        return _shuffle(builder, first, empty, [0] * WIDTH)

    return quad(types.float32), build


@intrinsic
def load_repeated(_typing: Any, array: Any, offset: Any) -> Any:
    """The register at element ``offset``, four times."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1], _REGISTER)
        register = builder.load(pointer, align=4)
        return _shuffle(builder, register, register, list(range(LANES)) * 4)

    return quad(array, types.intp), build


@intrinsic
def load_spread(_typing: Any, array: Any, offset: Any) -> Any:
    """The four elements at ``offset``, each in every lane of its register."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        pointer = _element_pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        empty = ir.Constant(_REGISTER, ir.Undefined)
        registers = []
        for i in range(4):
            element = builder.load(builder.gep(pointer, [ir.IntType(64)(i)]))
            lowest = builder.insert_element(empty, element, ir.IntType(32)(0))
            registers.append(_shuffle(builder, lowest, empty, [0] * LANES))
        pair = list(range(2 * LANES))
        first, second, third, fourth = registers
        halves = _shuffle(builder, first, second, pair), _shuffle(builder, third, fourth, pair)
        return _shuffle(builder, *halves, list(range(WIDTH)))

    return quad(array, types.intp), build


@intrinsic
def add_folded(_typing: Any, array: Any, offset: Any, value: Any) -> Any:
    """Add the sum of a quad's four registers to the register at element ``offset``."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        array, offset, value = arguments
        pointer = _pointer(context, builder, signature.args[0], array, offset, _REGISTER)
        parts = [_shuffle(builder, value, value, list(range(i * LANES, (i + 1) * LANES))) for i in range(4)]
        pairs = [builder.fadd(parts[i], parts[i + 1]) for i in (0, 2)]
        builder.store(builder.fadd(builder.load(pointer, align=4), builder.fadd(*pairs)), pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), build


def _register_wise(combine: Callable[..., Any]) -> Any:
    @intrinsic
    def moved(_typing: Any, target: Any, to: Any, source: Any, start: Any) -> Any:
        def build(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            target, to, source, start = arguments
            reads = _pointer(context, builder, signature.args[2], source, start, _REGISTER)
            writes = _pointer(context, builder, signature.args[0], target, to, _REGISTER)
            builder.store(combine(builder, writes, builder.load(reads, align=4)), writes, align=4)
            return context.get_dummy_value()

        return types.void(target, types.intp, source, types.intp), build

    return moved


copy_register = _register_wise(lambda _builder, _target, register: register)
"""Copy the register at element ``start`` of ``source`` to element ``to`` of ``target``."""
add_register = _register_wise(lambda builder, target, register: builder.fadd(builder.load(target, align=4), register))
"""Add the register at element ``start`` of ``source`` to that at element ``to`` of ``target``."""


@intrinsic
def fused(_typing: Any, left: Any, right: Any, summand: Any) -> Any:
    """Left · right + summand, in one instruction where the processor has it."""

    def build(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> ir.Value:
        kind = ir.FunctionType(_QUAD, [_QUAD, _QUAD, _QUAD])
        instruction = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{WIDTH}f32")
        return builder.call(instruction, arguments)

    return quad(quad, quad, quad), build


@intrinsic
def power_of_two(_typing: Any, biased: Any) -> Any:
    """2^k as a vector, where ``biased`` is k + `ROUNDING` with k a whole number from -126 to 127."""

    def build(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> ir.Value:
        bits = builder.bitcast(arguments[0], _BITS)
        shifted = builder.shl(bits, ir.Constant(_BITS, [23] * WIDTH))
        return builder.bitcast(shifted, _QUAD)

    return quad(quad), build


ROUNDING = 1.5 * 2.0**23 + 127.0
"""Adding it rounds to a whole number k and leaves k + 127, a float32's exponent, in the low bits."""


@intrinsic
def highest(_typing: Any, value: Any) -> Any:
    """The largest lane as a float32; NaN if a lane is NaN."""

    def build(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> ir.Value:
        (best,) = arguments
        width = WIDTH // 2
        while width:
            left = _shuffle(builder, best, best, list(range(width)))
            right = _shuffle(builder, best, best, list(range(width, 2 * width)))
            is_nan = builder.fcmp_unordered("!=", left, left)
            keep = builder.or_(is_nan, builder.fcmp_ordered(">", left, right))
            best = builder.select(keep, left, right)
            width //= 2
        return builder.extract_element(best, ir.IntType(32)(0))

    return types.float32(quad), build


def _bound(comparison: str) -> Any:
    @intrinsic
    def bound(_typing: Any, vector: Any, limit: Any) -> Any:
        def build(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> ir.Value:
            value, limit = arguments
            return builder.select(builder.fcmp_ordered(comparison, value, limit), limit, value)

        return quad(quad, quad), build

    return bound


at_least = _bound("<")
"""at_least(vector, limit): lane by lane the larger; NaN stays NaN."""
at_most = _bound(">")
"""at_most(vector, limit): lane by lane the smaller; NaN stays NaN."""


@intrinsic
def without_denormals(_typing: Any, vector: Any) -> Any:
    """Zero in the lanes within ±1e-36: fading on through denormals would slow each product a hundredfold."""

    def build(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> ir.Value:
        (value,) = arguments
        low, high = _same(-1e-36), _same(1e-36)
        inside = builder.and_(builder.fcmp_ordered(">", value, low), builder.fcmp_ordered("<", value, high))
        return builder.select(inside, _same(0.0), value)

    return quad(quad), build


@intrinsic
def magnitude(_typing: Any, vector: Any) -> Any:
    """The absolute value of every lane."""

    def build(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> ir.Value:
        bits = builder.bitcast(arguments[0], _BITS)
        unsigned = builder.and_(bits, ir.Constant(_BITS, [0x7FFFFFFF] * WIDTH))
        return builder.bitcast(unsigned, _QUAD)

    return quad(quad), build


def _operator(function: Callable[[Any, Any], Any], instruction: str) -> None:
    """Teach numba that ``function`` (of the module operator) on two vectors is one LLVM instruction."""

    @type_callable(function)
    def of_vectors(_context: Any) -> Callable[[Any, Any], Any]:
        def result(left: Any, right: Any) -> Any:
            return quad if left == quad and right == quad else None

        return result

    @lower_builtin(function, Quad, Quad)
    def combine(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> ir.Value:
        return getattr(builder, instruction)(*arguments, flags=_FUSE)


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")


def _transposed(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """Transpose a square of registers by log2(LANES) rounds of exchanging halves, quarters, ..."""
    step = LANES // 2
    while step:
        lower = [i if not i & step else LANES + i - step for i in range(LANES)]
        upper = [i + step if not i & step else LANES + i for i in range(LANES)]
        for i in (i for i in range(LANES) if not i & step):
            pair = rows[i], rows[i + step]
            rows[i], rows[i + step] = _shuffle(builder, *pair, lower), _shuffle(builder, *pair, upper)
        step //= 2
    return rows


def _row_pointers(
    context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value, offset: ir.Value, stride: ir.Value
) -> list[ir.Value]:
    offsets = [builder.add(offset, builder.mul(stride, stride.type(i))) for i in range(LANES)]
    return [_pointer(context, builder, kind, array, row, _REGISTER) for row in offsets]


@intrinsic
def transpose(_typing: Any, target: Any, to: Any, to_stride: Any, source: Any, start: Any, stride: Any) -> Any:
    """Copy a square of LANES × LANES float32, transposed; strides are between rows, in elements."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        reads = _row_pointers(context, builder, signature.args[3], *arguments[3:])
        writes = _row_pointers(context, builder, signature.args[0], *arguments[:3])
        rows = [builder.load(pointer, align=4) for pointer in reads]
        for row, pointer in zip(_transposed(builder, rows), writes, strict=True):
            builder.store(row, pointer, align=4)
        return context.get_dummy_value()

    return types.void(target, types.intp, types.intp, source, types.intp, types.intp), build


@intrinsic
def add_row_sums(_typing: Any, target: Any, to: Any, source: Any, start: Any) -> Any:
    """Add to LANES elements of ``target`` the sums over the lanes of LANES consecutive registers."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        target, to, source, start = arguments
        stride = start.type(LANES)
        reads = _row_pointers(context, builder, signature.args[2], source, start, stride)
        sums = _transposed(builder, [builder.load(pointer, align=4) for pointer in reads])
        while len(sums) > 1:
            sums = [builder.fadd(a, b) for a, b in zip(sums[::2], sums[1::2], strict=True)]
        pointer = _pointer(context, builder, signature.args[0], target, to, _REGISTER)
        builder.store(builder.fadd(builder.load(pointer, align=4), sums[0]), pointer, align=4)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp), build


@intrinsic
def aligned(_typing: Any, array: Any) -> Any:
    """The first element of a float32 array's memory whose address is a whole number of cache lines."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.ptrtoint(data, cgutils.intp_t)
        to_boundary = builder.and_(builder.neg(address), cgutils.intp_t(63))
        return builder.lshr(to_boundary, cgutils.intp_t(2))

    return types.intp(array), build
