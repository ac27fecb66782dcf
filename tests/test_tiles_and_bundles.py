"""The layout of C2SP tlog-tiles: paths, partial tiles, bundles, and the tail that makes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.errors import EntryInvalidError
from vault.log.merkle import leaf_hash, perfect_root, root_of
from vault.log.tail import Tail
from vault.log.tiles import BUNDLE, Tile, decode_bundle, encode_bundle, number_path, partial_tiles, tile_at


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 273, 112), "tile/0/273.p/112"),
        (Tile(1, 1000), "tile/1/x001/000"),
        (Tile(3, 1_234_067, 1), "tile/3/x001/x234/067.p/1"),
        (Tile(63, 999, 255), "tile/63/999.p/255"),
        (Tile(BUNDLE, 1_234_067), "tile/entries/x001/x234/067"),
        (Tile(BUNDLE, 5, 7), "tile/entries/005.p/7"),
    ],
)
def test_tile_paths(tile: Tile, path: str) -> None:
    assert tile.path == path


def test_numbers_are_cut_into_groups_of_three() -> None:
    assert [number_path(n) for n in (0, 999, 1000, 999_999, 1_000_000)] == [
        "000",
        "999",
        "x001/000",
        "x999/999",
        "x001/x000/000",
    ]


def test_the_partial_tiles_of_70000_entries() -> None:
    assert partial_tiles(70_000) == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert partial_tiles(256) == [Tile(1, 0, 1)]
    assert partial_tiles(0) == []


def test_a_tile_outside_the_tree_is_refused() -> None:
    assert tile_at(0, 1, 300) == Tile(0, 1, 44)
    assert tile_at(0, 0, 300) == Tile(0, 0)
    assert tile_at(BUNDLE, 1, 300) == Tile(BUNDLE, 1, 44)
    for level, number in ((0, 2), (2, 0), (0, -1), (BUNDLE, 2)):
        with pytest.raises(EntryInvalidError):
            tile_at(level, number, 300)


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_a_bundle_comes_back_as_it_was(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries)) == entries


@given(st.binary(max_size=600))
def test_any_bytes_are_a_bundle_or_an_error(data: bytes) -> None:
    try:
        entries = decode_bundle(data)
    except EntryInvalidError:
        return
    assert encode_bundle(entries) == data


def test_a_bundle_cut_anywhere_is_not_the_same_bundle() -> None:
    entries = [b"first", b"", b"x" * 300]
    data = encode_bundle(entries)
    for end in range(len(data)):
        try:
            assert decode_bundle(data[:end]) != entries
        except EntryInvalidError:
            continue


def test_the_longest_entry_fits_and_a_longer_one_cannot_be_written() -> None:
    assert decode_bundle(encode_bundle([b"x" * 65_535])) == [b"x" * 65_535]
    with pytest.raises(OverflowError):
        encode_bundle([b"x" * 65_536])


def grow(sizes: list[int]) -> tuple[Tail, dict[Tile, bytes], list[bytes]]:
    """Append in steps of the given sizes; return the tail, every file written and all entries."""
    tail, files = Tail(), {}
    entries: list[bytes] = []
    for size in sizes:
        step = [(len(entries) + n).to_bytes(4, "big") for n in range(size)]
        entries += step
        files.update({file.tile: file.data for file in tail.append(step)})
    return tail, files, entries


@given(st.lists(st.integers(1, 700), min_size=1, max_size=6))
def test_a_tail_knows_the_root_and_reloads_from_its_own_files(sizes: list[int]) -> None:
    tail, files, entries = grow(sizes)
    assert tail.root() == root_of(leaf_hash(entry) for entry in entries)

    def hashes(tile: Tile) -> list[bytes]:
        return [files[tile][at : at + 32] for at in range(0, 32 * tile.width, 32)]

    loaded = Tail.load(tail.size, hashes, lambda tile: decode_bundle(files[tile]))
    assert loaded.root() == tail.root()
    more = [b"more"] * 300
    assert loaded.append(more) == tail.append(more)
    assert loaded.root() == tail.root()


def test_the_files_do_not_depend_on_how_the_entries_were_batched() -> None:
    steps = [1, 3, 255, 256, 257, 4096, 2] * 15
    assert sum(steps) > 65_536
    once = grow([sum(steps)])[1]
    stepwise = grow(steps)[1]
    assert {tile: stepwise[tile] for tile in once} == once
    full = [tile for tile in once if tile.width == 256 and tile.level == 0]
    assert len(full) == sum(steps) // 256
    above = once[Tile(1, 0)]
    leaves = once[Tile(0, 7)]
    assert above[32 * 7 : 32 * 8] == perfect_root([leaves[at : at + 32] for at in range(0, 8192, 32)])


def test_a_partial_bundle_that_differs_from_its_tile_is_refused() -> None:
    tail, files, _ = grow([300])
    files[Tile(BUNDLE, 1, 44)] = encode_bundle([b"forged"] * 44)
    with pytest.raises(EntryInvalidError, match=r"tile/entries/001\.p/44"):
        Tail.load(
            tail.size,
            lambda tile: [files[tile][at : at + 32] for at in range(0, 32 * tile.width, 32)],
            lambda tile: decode_bundle(files[tile]),
        )
