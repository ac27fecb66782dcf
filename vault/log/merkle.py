"""The tree of RFC 6962 / RFC 9162 over SHA-256: hashes, proofs, and the growing right edge. Pure.

Section numbers are those of RFC 9162. A tree of n > 1 leaves splits at the largest power of two below n.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from vault.errors import EntryInvalidError, LogForkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256().digest()


def leaf_hash(data: bytes) -> bytes:
    """Hash an entry as a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into their parent."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Edge:
    """The right edge of a growing tree: all that is needed to append leaves and to know the root.

    `hashes` are the roots of the perfect subtrees that make up `size` leaves, largest first; one per set bit of `size`.
    """

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.hashes = list(hashes)
        if len(self.hashes) != size.bit_count():
            raise ValueError(f"an edge of size {size} has {size.bit_count()} hashes, not {len(self.hashes)}")

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash on the right."""
        merged = leaf
        size = self.size
        while size & 1:
            merged = node_hash(self.hashes.pop(), merged)
            size >>= 1
        self.hashes.append(merged)
        self.size += 1

    def root(self) -> bytes:
        """Return the tree hash of all leaves so far."""
        return fold(self.hashes)


def fold(hashes: Sequence[bytes]) -> bytes:
    """Join subtrees of falling size, left to right, into the root of the range they cover."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over sibling hashes; their count must be a power of two."""
    sha256 = hashlib.sha256
    level = list(hashes)
    while len(level) > 1:
        pairs = iter(level)
        level = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return level[0]


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the tree hash over leaf hashes."""
    edge = Edge()
    for leaf in leaves:
        edge.append(leaf)
    return edge.root()


# --- which subtrees a proof is made of -----------------------------------------------------------------------------


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Return the leaf ranges [start, end) whose hashes prove leaf `index` in a tree of `size`, from the leaf upward.

    Precondition: 0 <= index < size (2.1.3.1).
    """
    ranges = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old_size: int, new_size: int) -> list[tuple[int, int]]:
    """Return the leaf ranges whose hashes prove that a tree of `new_size` extends one of `old_size`.

    Precondition: 0 <= old_size <= new_size (2.1.4.1).
    """
    if old_size in (0, new_size):
        return []
    ranges = []
    start, end = 0, new_size
    while end != old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start > 0:  # the old tree is no subtree of its own: its last part must be named too
        ranges.append((start, end))
    return ranges[::-1]


def range_hash(start: int, end: int, subtree: Callable[[int, int], bytes]) -> bytes:
    """Return the hash of leaves [start, end), a range that a proof names; `subtree(start, k)` gives 2^k leaves' root."""
    hashes = []
    while start < end:
        exponent = (end - start).bit_length() - 1
        hashes.append(subtree(start, exponent))
        start += 1 << exponent
    return fold(hashes)


def _split(size: int) -> int:
    """Return the largest power of two below `size` (> 1)."""
    return 1 << (size - 1).bit_length() - 1


# --- verifying -----------------------------------------------------------------------------------------------------


def verify_inclusion(*, index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Raise EntryInvalidError unless `proof` leads from the leaf hash at `index` to `root` (2.1.3.2)."""
    if not 0 <= index < size:
        raise EntryInvalidError(f"entry {index} is not in a log of {size} entries")
    node, last = index, size - 1
    computed = leaf
    for sibling in proof:
        if last == 0:
            raise EntryInvalidError(f"the inclusion proof of entry {index} in {size} is too long")
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            node, last = _climb_left(node, last)
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise EntryInvalidError(f"the inclusion proof of entry {index} in {size} is too short")
    if computed != root:
        raise EntryInvalidError(f"entry {index} leads to root {computed.hex()}, the log of {size} has {root.hex()}")


def verify_consistency(
    *, old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise LogForkError unless `proof` shows that the new tree extends the old one (2.1.4.2)."""
    if not 0 <= old_size <= new_size:
        raise LogForkError(f"a log of {new_size} entries cannot extend one of {old_size}")
    if old_size in (0, new_size):
        old_computed = EMPTY_ROOT if old_size == 0 else new_root
        if proof or old_computed != old_root or (new_size == 0 and new_root != EMPTY_ROOT):
            raise LogForkError(f"the log of {new_size} entries is no extension of the one of {old_size}")
        return
    old_computed, new_computed = _walk_consistency(old_size, new_size, old_root, proof)
    if (old_computed, new_computed) != (old_root, new_root):
        raise LogForkError(
            f"the log of {new_size} entries (root {new_root.hex()}) does not extend the one of {old_size}"
            f" (root {old_root.hex()})"
        )


def _walk_consistency(old_size: int, new_size: int, old_root: bytes, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    # A perfect old tree is itself the first node, so the proof leaves it out.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        raise LogForkError(f"the consistency proof from {old_size} to {new_size} is empty")
    old_computed = new_computed = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise LogForkError(f"the consistency proof from {old_size} to {new_size} is too long")
        if node & 1 or node == last:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
            node, last = _climb_left(node, last)
        else:
            new_computed = node_hash(new_computed, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise LogForkError(f"the consistency proof from {old_size} to {new_size} is too short")
    return old_computed, new_computed


def _climb_left(node: int, last: int) -> tuple[int, int]:
    """Skip the levels at which the node has no sibling: shift until it is a right child or the root."""
    while node & 1 == 0 and node != 0:
        node, last = node >> 1, last >> 1
    return node, last
