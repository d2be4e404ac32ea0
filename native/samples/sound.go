package samples

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/metaprune/metaprune/prune/calib"
	"github.com/metaprune/metaprune/prune/repair"
)

// usualRate is the sample rate of most models of speech, in Hz.
const usualRate = 16000

// sound are WAV files, or parts of one, as samples of a model's only input.
type sound struct {
	input  calib.Input
	shape  []int // of one sample
	length int   // numbers of one sample
	rate   int
	pieces []piece
}

// piece is a part of a file: from the number first on, after resampling.
type piece struct {
	file
	first int
}

// sound opens WAV files. One file alone is cut into parts of the input's length.
func (o Options) sound(path string, files []file) (*Samples, error) {
	in, err := o.only(path, "sound")
	if err != nil {
		return nil, err
	}
	s := &sound{input: in, rate: o.SampleRate}
	if s.rate == 0 {
		s.rate = usualRate
	}
	if err := s.fit(path, &o); err != nil {
		return nil, err
	}
	parts, what := make([]piece, len(files)), "files"
	for i, f := range files {
		parts[i] = piece{f, 0}
	}
	if len(files) == 1 {
		what = "parts"
		if parts, err = s.parts(files[0]); err != nil {
			return nil, damaged(files[0].name, err, "give another file")
		}
	}
	for _, i := range choose(len(parts), o.Limit, o.Seed) {
		s.pieces = append(s.pieces, parts[i])
	}
	note := fmt.Sprintf(`%s: %d of %d %s of sound, at %d Hz (option "sample-rate"), cut or padded to %d numbers`, path, len(s.pieces), len(parts), what, s.rate, s.length)
	return &Samples{Source: s, Notes: []string{note}}, nil
}

// fit finds how many numbers a sample has: all axes but one have length 1.
func (s *sound) fit(path string, o *Options) error {
	dims, err := o.size(s.input)
	if err != nil {
		return err
	}
	wrong := &calib.SampleError{File: path, Input: s.input.Name, Want: s.input.Type.String() + " " + fmt.Sprint(s.input.Dims), Got: "sound, which is one row of floats"}
	s.shape, s.length = dims, 1
	for _, d := range dims {
		switch {
		case d < 0:
			wrong.Do = `give the number of samples that the model hears at once with option "input", such as 1x16000`
			return wrong
		case d != 1 && s.length != 1:
			wrong.Do = "a model of spectrograms wants an NPZ file with these"
			return wrong
		}
		s.length *= max(d, 1)
	}
	if !s.input.Type.IsFloat() || len(dims) == 0 {
		wrong.Do = "give an NPZ file"
		return wrong
	}
	return nil
}

// parts cuts one file; a rest that is no whole part is left out.
func (s *sound) parts(f file) ([]piece, error) {
	x, err := s.heard(f)
	if err != nil {
		return nil, err
	}
	out := []piece{{f, 0}}
	for at := s.length; at+s.length <= len(x); at += s.length {
		out = append(out, piece{f, at})
	}
	return out, nil
}

func (s *sound) Len() int { return len(s.pieces) }

func (s *sound) Read(from, n int) (map[string]repair.Array, error) {
	if from < 0 || n < 0 || from > len(s.pieces)-n {
		return nil, fmt.Errorf("sounds %d to %d of %d", from, from+n, len(s.pieces))
	}
	a := repair.Array{Dims: append([]int{n}, s.shape...), Type: s.input.Type, Floats: make([]float32, n*s.length)}
	var last []float32
	name := ""
	for i, p := range s.pieces[from : from+n] {
		if p.name != name {
			var err error
			if last, err = s.heard(p.file); err != nil {
				return nil, damaged(p.name, err, "replace or remove the file")
			}
			name = p.name
		}
		copy(a.Floats[i*s.length:(i+1)*s.length], last[min(p.first, len(last)):])
	}
	return map[string]repair.Array{s.input.Name: a}, nil
}

// heard is a file as one channel at the wanted rate.
func (s *sound) heard(f file) ([]float32, error) {
	raw, err := f.bytes()
	if err != nil {
		return nil, err
	}
	w, err := readWAV(raw)
	if err != nil {
		return nil, err
	}
	if int64(len(w.mono))*int64(s.rate)/int64(w.rate) > MaxFile/4 {
		return nil, fmt.Errorf("%d numbers at %d Hz are too many at %d Hz", len(w.mono), w.rate, s.rate)
	}
	return resampled(w.mono, w.rate, s.rate), nil
}

// resampled interpolates linearly.
func resampled(x []float32, from, to int) []float32 {
	if from == to || len(x) == 0 {
		return x
	}
	out := make([]float32, max(1, int(int64(len(x))*int64(to)/int64(from))))
	for i := range out {
		at := float64(i) * float64(from) / float64(to)
		k := min(int(at), len(x)-1)
		next := x[min(k+1, len(x)-1)]
		out[i] = float32(float64(x[k]) + (at-float64(k))*(float64(next)-float64(x[k])))
	}
	return out
}

// wav is a sound with its channels averaged; numbers are -1 to 1.
type wav struct {
	rate int
	mono []float32
}

// WAV format tags.
const (
	wavPCM        = 1
	wavFloat      = 3
	wavExtensible = 0xFFFE
)

// wavFormat is the chunk "fmt " of a WAV file.
type wavFormat struct {
	tag, channels, bits int
	rate                int
}

// readWAV reads PCM of 8, 16, 24 and 32 bits and floats of 32 and 64 bits.
func readWAV(raw []byte) (*wav, error) {
	if len(raw) < 12 || string(raw[:4]) != "RIFF" || string(raw[8:12]) != "WAVE" {
		return nil, errors.New("not a WAV file")
	}
	var format *wavFormat
	for at := 12; at+8 <= len(raw); {
		id, size := string(raw[at:at+4]), int64(binary.LittleEndian.Uint32(raw[at+4:]))
		body := raw[at+8:]
		if id == "data" && size > int64(len(body)) && (size >= 1<<31 || size == 0xFFFFFFFF) { // written to a pipe
			size = int64(len(body))
		}
		if size > int64(len(body)) {
			return nil, fmt.Errorf("chunk %q of %d bytes, but the file has only %d more", id, size, len(body))
		}
		body = body[:size]
		switch id {
		case "fmt ":
			f, err := readFormat(body)
			if err != nil {
				return nil, err
			}
			format = f
		case "data":
			if format == nil {
				return nil, errors.New("no format before the data")
			}
			return &wav{format.rate, format.mono(body)}, nil
		}
		at += 8 + int(size+size%2)
	}
	return nil, errors.New("no sound in the file")
}

func readFormat(b []byte) (*wavFormat, error) {
	if len(b) < 16 {
		return nil, errors.New("a format of less than 16 bytes")
	}
	u16 := func(i int) int { return int(binary.LittleEndian.Uint16(b[i:])) }
	f := &wavFormat{tag: u16(0), channels: u16(2), rate: int(binary.LittleEndian.Uint32(b[4:])), bits: u16(14)}
	if f.tag == wavExtensible && len(b) >= 26 {
		f.tag = u16(24)
	}
	known := f.tag == wavPCM && (f.bits == 8 || f.bits == 16 || f.bits == 24 || f.bits == 32) || f.tag == wavFloat && (f.bits == 32 || f.bits == 64)
	switch {
	case !known:
		return nil, fmt.Errorf("format %d with %d bits; want PCM of 8, 16, 24 or 32 bits, or floats", f.tag, f.bits)
	case f.channels < 1 || f.rate < 1 || f.rate > 1<<24:
		return nil, fmt.Errorf("%d channels at %d Hz", f.channels, f.rate)
	}
	return f, nil
}

// mono averages the channels.
func (f *wavFormat) mono(data []byte) []float32 {
	width := f.bits / 8
	out := make([]float32, len(data)/(width*f.channels))
	for i := range out {
		sum := 0.0
		for c := range f.channels {
			sum += f.number(data[(i*f.channels+c)*width:])
		}
		out[i] = float32(sum / float64(f.channels))
	}
	return out
}

// number is one of a channel's numbers; bytes are unsigned, wider integers are signed.
func (f *wavFormat) number(b []byte) float64 {
	switch {
	case f.tag == wavFloat && f.bits == 32:
		return finite(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
	case f.tag == wavFloat:
		return finite(math.Float64frombits(binary.LittleEndian.Uint64(b)))
	case f.bits == 8:
		return (float64(b[0]) - 128) / 128
	case f.bits == 16:
		return float64(int16(binary.LittleEndian.Uint16(b))) / (1 << 15)
	case f.bits == 24:
		return float64(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24)>>8) / (1 << 23)
	}
	return float64(int32(binary.LittleEndian.Uint32(b))) / (1 << 31)
}

// finite is silence where a float is no number.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}
