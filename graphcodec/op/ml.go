package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/onnxio"
)

// Operators of ai.onnx.ml, as scikit-learn's pipelines are exported. Their parameters are
// attributes, one
// for each feature, class or node of a tree, so what they read is kept, but for the channels that
// linear
// models sum over; their shapes are known, so that networks in front of them or after them are
// pruned.

func init() {
	const note = "cannot be pruned; its shape is known"
	ml := func(op string, infer func(c *Call), note string) {
		register(Op{Domain: "ai.onnx.ml", Name: op, Since: 1, Infer: infer, Note: note})
	}
	ml("Binarizer", func(c *Call) {
		if x, _, ok := c.axisOfInput(-1); ok {
			if y := c.same(0, x.Type, x); c.float("threshold", 0) < 0 {
				y.zero = nonZero
			}
		}
	}, "element-wise")
	ml("ZipMap", func(c *Call) { c.unknown("makes a map from names to numbers") }, "frozen")
	for op, columns := range map[string]string{
		"Scaler": "", "Imputer": "", "Normalizer": "", "LabelEncoder": "", "CategoryMapper": "", "OneHotEncoder": "cats", "FeatureVectorizer": "inputdimensions", "ArrayFeatureExtractor": "Y",
		"SVMRegressor": "1", "TreeEnsembleRegressor": "n_targets", "TreeEnsemble": "n_targets", "SVMClassifier": "classlabels", "TreeEnsembleClassifier": "classlabels",
	} {
		ml(op, func(c *Call) {
			c.learned(columns, "is read by an operator whose parameters for features are attributes")
		}, note)
	}
	for op, columns := range map[string]string{"LinearRegressor": "targets", "LinearClassifier": "classlabels"} {
		register(Op{Domain: "ai.onnx.ml", Name: op, Since: 1, Infer: func(c *Call) { c.learned(columns, c.notColumns()) }, Patch: patchLinear,
			Note: "input channels are pruned with their coefficients; classes and targets are kept"})
	}
}

// notColumns says why the channels that a linear model reads cannot be removed; "" where they can:
// they
// are zero when removed, and each has its coefficients, which are columns of a matrix in an
// attribute.
func (c *Call) notColumns() string {
	x := c.Input(0)
	switch {
	case x == nil || len(x.Shape) == 0:
		return "is read by a linear model, and its rank is not known"
	case c.columns(x) == 0:
		return "is read by a linear model that does not have one coefficient per channel and output"
	case x.zero != isZero || x.Const != nil || !x.Type.IsFloat():
		return "is read by a linear model, and its channels would not be zero when removed"
	}
	return ""
}

// columns is the number of channels that a linear model reads, 0 where its coefficients do not fit
// them.
func (c *Call) columns(x *Value) int64 {
	width, a := x.Shape[len(x.Shape)-1], c.attr("coefficients")
	if a == nil || !width.IsNum() || width.N < 1 || len(a.Floats) == 0 || int64(len(a.Floats))%width.N != 0 {
		return 0
	}
	return width.N
}

// patchLinear removes the coefficients of removed channels from every row.
func patchLinear(p *Patching) {
	x := p.Old.Input(0)
	if x == nil || len(x.Shape) == 0 {
		return
	}
	width := p.Old.columns(x)
	keep := p.Keep(p.Old.axis(x, len(x.Shape)-1))
	if width == 0 || keep == nil {
		return
	}
	var out []float32
	for row := range slices.Chunk(p.Old.attr("coefficients").Floats, int(width)) {
		for _, k := range keep {
			out = append(out, row[k])
		}
	}
	p.setAttr(&onnxio.Attribute{Name: "coefficients", Type: onnxio.AttrFloats, Floats: out})
}

// learned gives a node of ai.onnx.ml its shape: its input's, or with other columns, whose number is
// found
// under the given name. What it reads is kept for the given reason; where there is none, only its
// last
// axis may lose channels.
func (c *Call) learned(columns, why string) {
	x, last, ok := c.axisOfInput(-1)
	if !ok {
		return
	}
	for k := range last {
		c.freeze(x, k, "its rows are read one by one")
	}
	for _, v := range c.In {
		if why != "" {
			c.freezeValue(v, "%s", why)
		}
	}
	shape, t := slices.Clone(x.Shape), onnxio.Float
	count := func(names ...string) dim.Dim {
		for _, name := range names {
			if a := c.attr(name); a != nil && len(a.Ints)+len(a.Strings) > 0 {
				return dim.Num(int64(len(a.Ints) + len(a.Strings)))
			}
		}
		return dim.Symbol("?" + c.outName(0) + ".columns")
	}
	rows := dim.Num(1)
	if last > 0 {
		rows = x.Shape[0]
	}
	switch columns {
	case "":
		if t = x.Type; c.Node.OpType == "LabelEncoder" || c.Node.OpType == "CategoryMapper" {
			t = onnxio.Undefined // as its attributes say
		} else if !t.IsFloat() {
			t = onnxio.Float
		}
	case "cats":
		shape = append(shape, count("cats_int64s", "cats_strings"))
	case "inputdimensions":
		n := int64(0)
		for _, d := range c.ints(columns) {
			n += d
		}
		shape = []dim.Dim{rows, dim.Num(n)}
	case "Y":
		at := c.Input(1)
		if at == nil || !at.Ranked {
			c.unknown("the number of indices is unknown")
			return
		}
		if t, shape[last] = x.Type, dim.Product(at.Shape); last == 0 {
			shape = []dim.Dim{dim.Num(1), shape[0]}
		}
	case "classlabels":
		n := count("classlabels_ints", "classlabels_int64s", "classlabels_strings")
		if c.Node.OpType == "SVMClassifier" { // which may give a number for each pair of classes
			n = count()
		}
		c.set(1, t, []dim.Dim{rows, n}).zero = nonZero
		shape, t = []dim.Dim{rows}, onnxio.Int64
		if c.attr("classlabels_strings") != nil {
			t = onnxio.String
		}
	default:
		shape = []dim.Dim{rows, dim.Num(c.Int(columns, 1))}
	}
	c.set(0, t, shape).zero = nonZero
}
