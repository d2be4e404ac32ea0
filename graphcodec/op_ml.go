package graphcodec

import (
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// Operators of ai.onnx.ml, as scikit-learn's pipelines are exported. Their parameters are attributes, one for each feature, class or node of a tree, so what they read is kept; their shapes are known, so that networks in front of them
// or after them are pruned.

func init() {
	const note = "frozen, with its shape"
	ml := func(op string, infer func(c *call), note string) {
		register(rule{domain: "ai.onnx.ml", op: op, since: 1, infer: infer, note: note})
	}
	ml("Binarizer", func(c *call) {
		if x, _, ok := c.axisOfInput(-1); ok {
			if y := c.same(0, x.Type, x); c.float("threshold", 0) < 0 {
				y.zero = nonZero
			}
		}
	}, "element-wise")
	ml("ZipMap", func(c *call) { c.unknown("makes a map from names to numbers") }, "frozen")
	for op, columns := range map[string]string{
		"Scaler": "", "Imputer": "", "Normalizer": "", "LabelEncoder": "", "CategoryMapper": "", "OneHotEncoder": "cats", "FeatureVectorizer": "inputdimensions", "ArrayFeatureExtractor": "Y", "LinearRegressor": "targets",
		"SVMRegressor": "1", "TreeEnsembleRegressor": "n_targets", "TreeEnsemble": "n_targets", "LinearClassifier": "classlabels", "SVMClassifier": "classlabels", "TreeEnsembleClassifier": "classlabels",
	} {
		ml(op, func(c *call) { c.learned(columns) }, note)
	}
}

// learned gives a node of ai.onnx.ml its shape: its input's, or with other columns, whose number is found under the given name.
func (c *call) learned(columns string) {
	x, last, ok := c.axisOfInput(-1)
	if !ok {
		return
	}
	for _, v := range c.in {
		c.freezeValue(v, "is read by an operator whose parameters for features are attributes")
	}
	shape, t := slices.Clone(x.Shape), onnxio.Float
	count := func(names ...string) Dim {
		for _, name := range names {
			if a := c.attr(name); a != nil && len(a.Ints)+len(a.Strings) > 0 {
				return Num(int64(len(a.Ints) + len(a.Strings)))
			}
		}
		return Symbol("?" + c.outName(0) + ".columns")
	}
	rows := Num(1)
	if last > 0 {
		rows = x.Shape[0]
	}
	switch columns {
	case "":
		if t = x.Type; c.node.OpType == "LabelEncoder" || c.node.OpType == "CategoryMapper" {
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
		shape = []Dim{rows, Num(n)}
	case "Y":
		at := c.input(1)
		if at == nil || !at.Ranked {
			c.unknown("the number of indices is unknown")
			return
		}
		if t, shape[last] = x.Type, product(at.Shape); last == 0 {
			shape = []Dim{Num(1), shape[0]}
		}
	case "classlabels":
		n := count("classlabels_ints", "classlabels_int64s", "classlabels_strings")
		if c.node.OpType == "SVMClassifier" { // which may give a number for each pair of classes
			n = count()
		}
		c.set(1, t, []Dim{rows, n}).zero = nonZero
		shape, t = []Dim{rows}, onnxio.Int64
		if c.attr("classlabels_strings") != nil {
			t = onnxio.String
		}
	default:
		shape = []Dim{rows, Num(c.int(columns, 1))}
	}
	c.set(0, t, shape).zero = nonZero
}
