// Command tlverify checks a log/ directory of Liuhen with Go's own golang.org/x/mod/sumdb packages (note, tlog).
//
//	tlverify DIR [OLD_CHECKPOINT...]
//
// It reads DIR/vkey, DIR/checkpoint, the tiles and the entry bundles, and checks
//
//  1. the checkpoint's signature, and that of every older checkpoint named,
//  2. every hash tile up to the signed root (TileHashReader authenticates each),
//  3. every entry against its leaf hash,
//  4. an inclusion proof for every entry (every 37th of more than 2,000),
//  5. a consistency proof from every older checkpoint, and from sizes around tile boundaries.
//
// Exit status 0 and one line on standard output when all of it holds; 1 and the fault on standard error otherwise.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8
	width  = 1 << height
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: tlverify DIR [OLD_CHECKPOINT...]")
		os.Exit(2)
	}
	summary, err := verify(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "tlverify:", err)
		os.Exit(1)
	}
	fmt.Println(summary)
}

func verify(dir string, older []string) (string, error) {
	vkey, err := os.ReadFile(filepath.Join(dir, "vkey"))
	if err != nil {
		return "", err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(strings.SplitN(string(vkey), "\n", 2)[0]))
	if err != nil {
		return "", err
	}
	tree, err := openCheckpoint(filepath.Join(dir, "checkpoint"), verifier)
	if err != nil {
		return "", err
	}
	if tree.N == 0 {
		return "an empty log", nil
	}
	hashes := tlog.TileHashReader(tree, tiles{dir})
	root, err := tlog.TreeHash(tree.N, hashes)
	if err != nil {
		return "", err
	}
	if root != tree.Hash {
		return "", fmt.Errorf("the tiles lead to %v, the checkpoint signs %v", root, tree.Hash)
	}
	leaves, err := checkEntries(dir, tree, hashes)
	if err != nil {
		return "", err
	}
	included, err := checkInclusion(tree, leaves, hashes)
	if err != nil {
		return "", err
	}
	consistent, err := checkConsistency(tree, older, verifier, hashes)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d entries, %d inclusion proofs, %d consistency proofs", tree.N, included, consistent), nil
}

// openCheckpoint verifies a signed note and reads its three lines; tlog.ParseTree knows another first line only.
func openCheckpoint(path string, verifier note.Verifier) (tlog.Tree, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("%s: %w", path, err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("%s: not a checkpoint of %s", path, verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || lines[1] != strconv.FormatInt(size, 10) {
		return tlog.Tree{}, fmt.Errorf("%s: bad size %q", path, lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

func checkEntries(dir string, tree tlog.Tree, hashes tlog.HashReader) ([]tlog.Hash, error) {
	var leaves []tlog.Hash
	for first := int64(0); first < tree.N; first += width {
		count := min(width, tree.N-first)
		indexes := make([]int64, count)
		for i := range indexes {
			indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
		}
		logged, err := hashes.ReadHashes(indexes)
		if err != nil {
			return nil, fmt.Errorf("tiles of entries from %d: %w", first, err)
		}
		entries, err := readBundle(dir, first/width, int(count))
		if err != nil {
			return nil, err
		}
		for i, entry := range entries {
			if tlog.RecordHash(entry) != logged[i] {
				return nil, fmt.Errorf("entry %d is not the one that was logged", first+int64(i))
			}
		}
		leaves = append(leaves, logged...)
	}
	return leaves, nil
}

func checkInclusion(tree tlog.Tree, leaves []tlog.Hash, hashes tlog.HashReader) (int, error) {
	step, checked := int64(1), 0
	if tree.N > 2000 {
		step = 37
	}
	for index := int64(0); index < tree.N; index += step {
		proof, err := tlog.ProveRecord(tree.N, index, hashes)
		if err != nil {
			return checked, err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaves[index]); err != nil {
			return checked, fmt.Errorf("inclusion of entry %d: %w", index, err)
		}
		checked++
	}
	return checked, nil
}

func checkConsistency(tree tlog.Tree, older []string, verifier note.Verifier, hashes tlog.HashReader) (int, error) {
	var trees []tlog.Tree
	for _, path := range older {
		old, err := openCheckpoint(path, verifier)
		if err != nil {
			return 0, err
		}
		trees = append(trees, old)
	}
	for _, size := range []int64{1, 2, 255, 256, 257, 65535, 65536, 65537, tree.N - 1, tree.N} {
		if size < 1 || size > tree.N {
			continue
		}
		root, err := tlog.TreeHash(size, hashes)
		if err != nil {
			return 0, err
		}
		trees = append(trees, tlog.Tree{N: size, Hash: root})
	}
	checked := 0
	for _, old := range trees {
		if old.N == 0 {
			continue // nothing precedes the empty tree's successors
		}
		proof, err := tlog.ProveTree(tree.N, old.N, hashes)
		if err != nil {
			return checked, err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
			return checked, fmt.Errorf("the log of %d entries does not extend the one of %d: %w", tree.N, old.N, err)
		}
		checked++
	}
	return checked, nil
}

// tiles reads hash tiles from the paths of C2SP tlog-tiles.
type tiles struct{ dir string }

func (t tiles) Height() int                         { return height }
func (t tiles) SaveTiles(_ []tlog.Tile, _ [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(wanted))
	for i, tile := range wanted {
		// Go writes tile/8/<level>/<number>: the same path but for the height.
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		content, err := os.ReadFile(filepath.Join(t.dir, path))
		if err != nil {
			return nil, err
		}
		data[i] = content
	}
	return data, nil
}

func readBundle(dir string, number int64, count int) ([][]byte, error) {
	tile := tlog.Tile{H: height, L: 0, N: number, W: count}
	path := "tile/entries/" + strings.TrimPrefix(tile.Path(), "tile/8/0/")
	data, err := os.ReadFile(filepath.Join(dir, path))
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(data) > 0 {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("%s: entry %d is cut off", path, len(entries))
		}
		size := int(binary.BigEndian.Uint16(data))
		entries = append(entries, data[2:2+size])
		data = data[2+size:]
	}
	if len(entries) != count {
		return nil, fmt.Errorf("%s: %d entries, not %d", path, len(entries), count)
	}
	return entries, nil
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}
