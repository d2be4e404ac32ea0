package samples

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// No file makes the readers of sound and tables panic.
func FuzzSound(f *testing.F) {
	for _, name := range []string{"pcm8.wav", "pcm24.wav", "float.wav"} {
		raw, err := os.ReadFile("testdata/" + name)
		require.NoError(f, err)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if w, err := readWAV(raw); err == nil {
			require.Positive(t, w.rate)
			require.LessOrEqual(t, len(w.mono), len(raw))
		}
	})
}

func FuzzTable(f *testing.F) {
	f.Add([]byte("a,b\n1,2\n3,4\n"))
	f.Add([]byte("\xef\xbb\xbf1;2\n\"3\";4"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if c, err := readTable("t.csv", raw); err == nil {
			for _, row := range c.rows {
				require.Len(t, row, len(c.rows[0]))
			}
		}
	})
}
