package analyse

import (
	"cmp"
	"math"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// Group describes the channels of one group.
type Group struct {
	ID     string   `json:"id"`   // of the model's group
	Name   string   `json:"name"` // of the model's group
	Units  int      `json:"units"`
	Norm   float64  `json:"norm"`   // mean group L2 importance
	Spread float64  `json:"spread"` // its standard deviation over its mean
	Least  float64  `json:"least"`  // the smallest one over the mean
	Layers []Layer  `json:"layers"`
	Taylor *float64 `json:"taylor,omitempty"`  // mean over channels
	Agrees *float64 `json:"l2_rank,omitempty"` // rank correlation of Taylor and L2, -1 to 1
}

// Layer describes one weight that produces a group.
type Layer struct {
	Tensor      string  `json:"tensor"`
	Rows        int     `json:"rows"` // filters
	Columns     int     `json:"columns"`
	Correlation float64 `json:"correlation"`    // mean absolute cosine of two filters
	Rank        float64 `json:"effective_rank"` // share of the largest possible
}

// MaxElements bounds the matrices that singular values are taken of; larger ones are described by evenly spaced columns.
const MaxElements = 1 << 20

// Weights describes the groups that can be pruned, by the weights that weight gives for a constant (nil: its own).
func Weights(a *coupling.Analysis, weight func(c *op.Constant) (*onnxio.Tensor, error)) ([]Group, error) {
	c := planner.Criterion{Normalizer: "none", Weights: weight}
	scores, err := planner.Score(a, nil, c)
	if err != nil {
		return nil, err
	}
	var out []Group
	for i := range a.Groups {
		g := &a.Groups[i]
		if g.Frozen != "" {
			continue
		}
		own := make([]float64, len(g.Units))
		for k, u := range g.Units {
			own[k] = scores[u]
		}
		d := Group{ID: g.ID, Name: g.Name, Units: len(own)}
		d.Norm = stat.Mean(own, nil)
		if d.Norm > 0 {
			d.Spread, d.Least = math.Sqrt(stat.PopVariance(own, nil))/d.Norm, slices.Min(own)/d.Norm
		}
		for _, m := range g.Members {
			if m.Role != op.Output || len(m.Const.Tensor.Dims) < 2 {
				continue
			}
			l, err := layer(m, weight)
			if err != nil {
				return nil, err
			}
			d.Layers = append(d.Layers, l)
		}
		out = append(out, d)
	}
	return out, nil
}

func layer(m coupling.Member, weight func(c *op.Constant) (*onnxio.Tensor, error)) (Layer, error) {
	t := m.Const.Tensor
	if weight != nil {
		own, err := weight(m.Const)
		if err != nil {
			return Layer{}, err
		}
		if own != nil {
			t = own
		}
	}
	v, err := t.Float64s()
	if err != nil {
		return Layer{}, err
	}
	x := matrix(v, m.Const.Tensor.Dims, m.Axis)
	rows, columns := x.Dims()
	l := Layer{Tensor: m.Const.Name, Rows: rows, Columns: int(len(v)) / rows}
	l.Correlation = correlation(x)
	l.Rank = effectiveRank(x) / float64(min(rows, columns))
	return l, nil
}

// matrix has a row for each position of an axis; its columns are thinned out where there are too many.
func matrix(v []float64, dims []int64, axis int) *mat.Dense {
	before, n, after := 1, int(dims[axis]), 1
	for i, d := range dims {
		if i < axis {
			before *= int(d)
		} else if i > axis {
			after *= int(d)
		}
	}
	columns := before * after
	kept := min(columns, max(MaxElements/n, 1))
	x := mat.NewDense(n, kept, nil)
	for k := range kept {
		c := k * columns / kept
		for j := range n {
			x.Set(j, k, v[(c/after*n+j)*after+c%after])
		}
	}
	return x
}

// correlation is the mean absolute cosine between two different rows; 0 for a single one.
func correlation(x *mat.Dense) float64 {
	rows, _ := x.Dims()
	var products mat.SymDense
	products.SymOuterK(1, x)
	sum, n := 0.0, 0
	for i := range rows {
		for j := range i {
			if p := products.At(i, i) * products.At(j, j); p > 0 {
				sum += math.Abs(products.At(i, j)) / math.Sqrt(p)
				n++
			}
		}
	}
	return sum / float64(max(n, 1))
}

// effectiveRank is the exponential of the entropy of the singular values' shares.
func effectiveRank(x *mat.Dense) float64 {
	var s mat.SVD
	if !s.Factorize(x, mat.SVDNone) {
		return math.NaN()
	}
	values := s.Values(nil)
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	if sum == 0 {
		return 0
	}
	entropy := 0.0
	for _, v := range values {
		if p := v / sum; p > 0 {
			entropy -= p * math.Log(p)
		}
	}
	return math.Exp(entropy)
}

// spearman is the correlation of two lists' ranks, equal values sharing theirs.
func spearman(x, y []float64) float64 {
	if len(x) < 2 {
		return 0
	}
	r := stat.Correlation(ranks(x), ranks(y), nil)
	if math.IsNaN(r) {
		return 0
	}
	return r
}

func ranks(v []float64) []float64 {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(v[a], v[b]) })
	out := make([]float64, len(v))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && v[order[j]] == v[order[i]] {
			j++
		}
		for _, k := range order[i:j] {
			out[k] = float64(i+j-1) / 2
		}
		i = j
	}
	return out
}
