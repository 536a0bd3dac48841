"""What a verb was called with: a pair that is open, a request for one, or paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsfuse.pairs.pair import Pair, PairRequest

if TYPE_CHECKING:
    from hsfuse.pairs.pair import PairOptions, PathLike


def requested(
    pair: Pair | PairRequest | PathLike, rest: tuple[PathLike, ...], options: PairOptions, after: int
) -> tuple[Pair | PairRequest, tuple[PathLike, ...]]:
    """Sort out a verb's positional arguments: an open pair, a request, or two paths, and `after` further paths.

    Args:
        pair: The first argument.
        rest: All others.
        options: Keywords by which a pair of paths is opened.
        after: How many arguments follow the pair.

    Raises:
        TypeError: There are too few arguments or too many, or options for a pair that is open already.
    """
    given = isinstance(pair, (Pair, PairRequest))
    expected = after if given else after + 1
    if len(rest) != expected:
        what = "a pair" if given else "the paths of two scenes"
        raise TypeError(f"expected {what} and {after} more arguments, got {len(rest) + 1} in all")
    if isinstance(pair, (Pair, PairRequest)):
        if options:
            raise TypeError(f"{', '.join(options)} belong to the pair: give them to open_pair or PairRequest")
        return pair, rest
    return PairRequest(pair, rest[0], **options), rest[1:]
