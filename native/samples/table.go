package samples

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/metaprune/metaprune/prune/calib"
	"github.com/metaprune/metaprune/prune/repair"
)

// columns are the numbers of a table.
type columns struct {
	names []string // nil without a header
	rows  [][]float64
}

// table opens a CSV file: a column for each input of one number, by its name, or as many columns as
// the only input has numbers.
func (o Options) table(path string) (*Samples, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := readTable(path, raw)
	if err != nil {
		return nil, err
	}
	if err := few(path, len(t.rows), "rows of numbers", "give another file"); err != nil {
		return nil, err
	}
	all, err := o.byName(path, t)
	if all == nil && err == nil {
		all, err = o.whole(path, t)
	}
	if err != nil {
		return nil, err
	}
	return o.memory(path, all, "rows")
}

// byName takes a column for each input; nil where the header does not name an input.
func (o *Options) byName(path string, t *columns) (map[string]repair.Array, error) {
	if !slices.ContainsFunc(o.Inputs, func(in calib.Input) bool { return slices.Contains(t.names, in.Name) }) {
		return nil, nil
	}
	all := map[string]repair.Array{}
	for _, in := range o.Inputs {
		k := slices.Index(t.names, in.Name)
		if k < 0 {
			return nil, &calib.SampleError{File: path, Input: in.Name, Want: "a column of that name", Got: "only " + strings.Join(t.names, ", "), Do: "add the column"}
		}
		dims, err := o.size(in)
		if err != nil {
			return nil, err
		}
		if product(dims) != 1 {
			return nil, &calib.SampleError{File: path, Input: in.Name, Want: fmt.Sprint(in.Dims), Got: "a column, which is one number a sample", Do: "give an NPZ file with an array for each input"}
		}
		if all[in.Name], err = t.array(path, in, []int{k}, dims); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// whole takes all columns for the only input.
func (o *Options) whole(path string, t *columns) (map[string]repair.Array, error) {
	in, err := o.only(path, "a table whose columns have other names than the inputs")
	if err != nil {
		return nil, err
	}
	dims, err := o.size(in)
	if err != nil {
		return nil, err
	}
	n := len(t.rows[0])
	if k := slices.Index(dims, -1); k >= 0 { // the only free length is what remains
		dims[k] = max(n/max(product(slices.Delete(slices.Clone(dims), k, k+1)), 1), 1)
	}
	if product(dims) != n {
		return nil, &calib.SampleError{File: path, Input: in.Name, Want: fmt.Sprintf("%d columns, for %v", product(dims), in.Dims), Got: fmt.Sprint(n), Do: "remove columns that the model does not read, such as labels"}
	}
	which := make([]int, n)
	for i := range which {
		which[i] = i
	}
	a, err := t.array(path, in, which, dims)
	return map[string]repair.Array{in.Name: a}, err
}

// product multiplies lengths; below 0 where one is free.
func product(dims []int) int {
	n := 1
	for _, d := range dims {
		if d < 0 {
			return -1
		}
		n *= d
	}
	return n
}

// array are columns as samples of an input.
func (t *columns) array(path string, in calib.Input, which, dims []int) (repair.Array, error) {
	a := repair.Array{Dims: append([]int{len(t.rows)}, dims...), Type: in.Type}
	if !in.Type.IsFloat() && !in.Type.IsInteger() {
		return a, &calib.SampleError{File: path, Input: in.Name, Want: in.Type.String(), Got: "a table of numbers", Do: "tables hold numbers only"}
	}
	for i, row := range t.rows {
		for _, k := range which {
			switch v := row[k]; {
			case in.Type.IsFloat():
				a.Floats = append(a.Floats, float32(v))
			case v != math.Trunc(v):
				return a, &calib.SampleError{File: path, Input: in.Name, Want: in.Type.String(), Got: fmt.Sprintf("%v in row %d", v, i+1), Do: "give whole numbers"}
			default:
				a.Ints = append(a.Ints, int64(v))
			}
		}
	}
	return a, nil
}

// readTable reads numbers divided by commas, semicolons or tabs, with or without a header.
func readTable(path string, raw []byte) (*columns, error) {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	r := csv.NewReader(bytes.NewReader(raw))
	r.Comma, r.TrimLeadingSpace, r.ReuseRecord = separator(raw), true, true
	t := &columns{}
	for first := true; ; first = false {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return nil, damaged(path, err, "give every line the same number of columns")
		}
		row, bad := parsed(record)
		switch {
		case bad >= 0 && first:
			for _, name := range record {
				t.names = append(t.names, strings.TrimSpace(name))
			}
		case bad >= 0:
			line, column := r.FieldPos(bad)
			return nil, &calib.SampleError{File: fmt.Sprintf("%s:%d:%d", path, line, column), Want: "a number", Got: strconv.Quote(record[bad]), Do: "remove the row, or the column"}
		default:
			t.rows = append(t.rows, row)
		}
	}
}

// parsed are the numbers of a row; bad is the first field that is none, else -1.
func parsed(record []string) (row []float64, bad int) {
	row = make([]float64, len(record))
	for k, text := range record {
		v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, k
		}
		row[k] = v
	}
	return row, -1
}

// separator is what the first line has most of.
func separator(raw []byte) rune {
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	best, most := ',', 0
	for _, c := range ",;\t" {
		if n := bytes.Count(line, []byte(string(c))); n > most {
			best, most = c, n
		}
	}
	return best
}
