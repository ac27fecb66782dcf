"""Trees and proofs of RFC 9162: published vectors, a slow reference tree, every small size, and forged proofs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.errors import EntryInvalidError, LogForkError
from vault.log.merkle import (
    EMPTY_ROOT,
    Edge,
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    perfect_root,
    range_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# The eight leaves and roots with which Certificate Transparency implementations are tested.
CT_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
CT_PATH_0_OF_8 = [
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
]
SIZES_MAX = 70
LEAVES = [leaf_hash(index.to_bytes(2, "big")) for index in range(SIZES_MAX)]


def reference_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 9162 2.1.1, word for word and slow."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(reference_root(leaves[:k]), reference_root(leaves[k:]))


def reference_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH(m, D[n]) of RFC 9162 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if index < k:
        return [*reference_path(index, leaves[:k]), reference_root(leaves[k:])]
    return [*reference_path(index - k, leaves[k:]), reference_root(leaves[:k])]


def reference_subproof(old: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b) of RFC 9162 2.1.4.1."""
    if old == len(leaves):
        return [] if whole else [reference_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if old <= k:
        return [*reference_subproof(old, leaves[:k], whole=whole), reference_root(leaves[k:])]
    return [*reference_subproof(old - k, leaves[k:], whole=False), reference_root(leaves[:k])]


def inclusion(index: int, size: int) -> list[bytes]:
    return [range_hash(start, end, subtree) for start, end in inclusion_ranges(index, size)]


def consistency(old_size: int, new_size: int) -> list[bytes]:
    return [range_hash(start, end, subtree) for start, end in consistency_ranges(old_size, new_size)]


def subtree(start: int, exponent: int) -> bytes:
    assert start % (1 << exponent) == 0
    return perfect_root(LEAVES[start : start + (1 << exponent)])


def test_certificate_transparency_roots() -> None:
    leaves = [leaf_hash(data) for data in CT_LEAVES]
    assert [root_of(leaves[:size]).hex() for size in range(1, 9)] == CT_ROOTS
    assert root_of([]) == EMPTY_ROOT


def test_certificate_transparency_paths() -> None:
    root = bytes.fromhex(CT_ROOTS[7])
    path = [bytes.fromhex(text) for text in CT_PATH_0_OF_8]
    verify_inclusion(index=0, size=8, leaf=leaf_hash(b""), proof=path, root=root)
    verify_consistency(old_size=1, new_size=8, old_root=bytes.fromhex(CT_ROOTS[0]), new_root=root, proof=path)


def test_every_inclusion_proof_of_every_small_tree() -> None:
    for size in range(1, SIZES_MAX):
        root = reference_root(LEAVES[:size])
        for index in range(size):
            proof = inclusion(index, size)
            assert proof == reference_path(index, LEAVES[:size])
            verify_inclusion(index=index, size=size, leaf=LEAVES[index], proof=proof, root=root)


def test_every_consistency_proof_of_every_small_tree() -> None:
    """I3: any two sizes of one log are shown to be consistent."""
    roots = [reference_root(LEAVES[:size]) for size in range(SIZES_MAX)]
    for new in range(SIZES_MAX):
        for old in range(new + 1):
            proof = consistency(old, new)
            assert proof == (reference_subproof(old, LEAVES[:new], whole=True) if old else [])
            verify_consistency(old_size=old, new_size=new, old_root=roots[old], new_root=roots[new], proof=proof)


@given(st.lists(st.binary(max_size=8), max_size=300))
def test_the_growing_edge_equals_the_reference_tree(entries: list[bytes]) -> None:
    leaves = [leaf_hash(entry) for entry in entries]
    edge = Edge()
    for leaf in leaves:
        edge.append(leaf)
    assert edge.root() == reference_root(leaves)
    assert Edge(edge.size, edge.hashes).root() == edge.root()


def test_an_edge_with_too_few_hashes_is_refused() -> None:
    with pytest.raises(ValueError, match="2 hashes"):
        Edge(3, [LEAVES[0]])


@given(data=st.data())
def test_a_changed_inclusion_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, SIZES_MAX - 1))
    index = data.draw(st.integers(0, size - 1))
    proof, leaf, claimed = inclusion(index, size), LEAVES[index], index
    match data.draw(st.sampled_from(["leaf", "hash", "longer", "shorter", "index", "order"])):
        case "leaf":
            leaf = LEAVES[index - 1] if size > 1 else leaf_hash(b"other")
        case "hash" if proof:
            at = data.draw(st.integers(0, len(proof) - 1))
            proof[at] = bytes([proof[at][0] ^ 1]) + proof[at][1:]
        case "shorter" if proof:
            proof.pop(data.draw(st.integers(0, len(proof) - 1)))
        case "index" if size > 1:
            claimed = (index + 1) % size
        case "order" if len(proof) > 1:
            proof.reverse()
        case _:
            proof.insert(data.draw(st.integers(0, len(proof))), LEAVES[0])
    with pytest.raises(EntryInvalidError):
        verify_inclusion(index=claimed, size=size, leaf=leaf, proof=proof, root=reference_root(LEAVES[:size]))


@pytest.mark.parametrize("index", [-1, 8, 9, 1 << 70])
def test_an_index_outside_the_tree_is_refused(index: int) -> None:
    with pytest.raises(EntryInvalidError):
        verify_inclusion(index=index, size=8, leaf=LEAVES[0], proof=inclusion(0, 8), root=reference_root(LEAVES[:8]))


@given(data=st.data())
def test_a_changed_consistency_proof_is_refused(data: st.DataObject) -> None:
    """I3: a rewritten past does not pass."""
    new = data.draw(st.integers(2, SIZES_MAX - 1))
    old = data.draw(st.integers(1, new - 1))
    proof = consistency(old, new)
    old_root, new_root = reference_root(LEAVES[:old]), reference_root(LEAVES[:new])
    match data.draw(st.sampled_from(["old", "new", "hash", "longer", "shorter", "sizes"])):
        case "old":
            old_root = leaf_hash(b"rewritten")
        case "new":
            new_root = leaf_hash(b"rewritten")
        case "hash":
            at = data.draw(st.integers(0, len(proof) - 1))
            proof[at] = bytes([proof[at][0] ^ 1]) + proof[at][1:]
        case "shorter":
            proof.pop(data.draw(st.integers(0, len(proof) - 1)))
        case "sizes":
            old, new = new, old
        case _:
            proof.append(LEAVES[0])
    with pytest.raises(LogForkError):
        verify_consistency(old_size=old, new_size=new, old_root=old_root, new_root=new_root, proof=proof)


@pytest.mark.parametrize(
    ("old_size", "new_size", "old_root", "new_root", "proof"),
    [
        (0, 4, LEAVES[0], reference_root(LEAVES[:4]), []),  # the empty tree has one root only
        (0, 4, EMPTY_ROOT, reference_root(LEAVES[:4]), [LEAVES[0]]),
        (0, 0, EMPTY_ROOT, LEAVES[0], []),
        (4, 4, reference_root(LEAVES[:4]), LEAVES[0], []),
        (4, 4, reference_root(LEAVES[:4]), reference_root(LEAVES[:4]), [LEAVES[0]]),
        (-1, 4, EMPTY_ROOT, reference_root(LEAVES[:4]), []),
    ],
)
def test_an_empty_proof_proves_only_what_needs_no_proof(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: list[bytes]
) -> None:
    with pytest.raises(LogForkError):
        verify_consistency(old_size=old_size, new_size=new_size, old_root=old_root, new_root=new_root, proof=proof)
