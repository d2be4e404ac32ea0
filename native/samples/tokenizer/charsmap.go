package tokenizer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/rivo/uniseg"
)

// charsmap is SentencePiece's table of replacements: a double array whose leaves are offsets into
// strings that end in a zero byte (https://github.com/s-yata/darts-clone).
type charsmap struct {
	units   []uint32
	strings []byte
}

// longestChar is the longest sequence of bytes that is looked up as a whole.
const longestChar = 6

func readCharsmap(data []byte) (func(string) string, error) {
	if len(data) == 0 {
		return nil, nil
	}
	if len(data) < 4 {
		return nil, errors.New("precompiled_charsmap is cut off")
	}
	size := int64(binary.LittleEndian.Uint32(data))
	if size%4 != 0 || size > int64(len(data)-4) {
		return nil, errors.New("precompiled_charsmap is cut off")
	}
	m := &charsmap{strings: data[4+size:]}
	for at := int64(4); at < 4+size; at += 4 {
		m.units = append(m.units, binary.LittleEndian.Uint32(data[at:]))
	}
	return m.normalize, nil
}

// normalize replaces what a reader takes for one character, else its parts.
func (m *charsmap) normalize(s string) string {
	var b strings.Builder
	state := -1
	for len(s) > 0 {
		var cluster string
		cluster, s, _, state = uniseg.FirstGraphemeClusterInString(s, state)
		if len(cluster) < longestChar {
			if to, ok := m.lookup(cluster); ok {
				b.WriteString(to)
				continue
			}
		}
		for _, r := range cluster {
			if to, ok := m.lookup(string(r)); ok {
				b.WriteString(to)
			} else {
				b.WriteRune(r)
			}
		}
	}
	return b.String()
}

// lookup is the replacement of the shortest beginning of a string that has one, as the library takes it.
func (m *charsmap) lookup(s string) (string, bool) {
	unit := func(at uint32) (uint32, bool) {
		if at >= uint32(len(m.units)) {
			return 0, false
		}
		return m.units[at], true
	}
	offset := func(u uint32) uint32 { return (u >> 10) << ((u & (1 << 9)) >> 6) }
	u, ok := unit(0)
	at := offset(u)
	for i := 0; ok && i < len(s) && s[i] != 0; i++ {
		at ^= uint32(s[i])
		if u, ok = unit(at); !ok || u&(1<<31|0xFF) != uint32(s[i]) {
			return "", false
		}
		at ^= offset(u)
		if u>>8&1 == 1 {
			leaf, ok := unit(at)
			from := leaf & (1<<31 - 1)
			if !ok || from >= uint32(len(m.strings)) {
				return "", false
			}
			text, _, _ := bytes.Cut(m.strings[from:], []byte{0})
			return string(text), true
		}
	}
	return "", false
}
