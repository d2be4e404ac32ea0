package graphcodec

import (
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// Operators of ai.onnx.ml, as scikit-learn's pipelines are exported. Their parameters are attributes, one for each feature or one for each node of a tree, so features that they read are kept; shapes are known, so that networks in front
// of them or after them are pruned.

const learning = "ai.onnx.ml"

func init() {
	ml := func(note string, infer func(c *call), ops ...string) {
		for _, op := range ops {
			register(rule{domain: learning, op: op, since: 1, infer: infer, note: note})
		}
	}
	ml("frozen on features; other axes pass", perFeature, "Scaler", "Imputer")
	ml("element-wise", binarizer, "Binarizer")
	ml("normalises over features: those that are zero when removed leave", normalizer, "Normalizer")
	ml("frozen, with its shape", encoded, "LabelEncoder", "CategoryMapper", "OneHotEncoder", "FeatureVectorizer", "ArrayFeatureExtractor")
	ml("frozen, with its shape", predicted, "LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor", "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor")
	ml("frozen", func(c *call) { c.unknown("makes a map from names to numbers") }, "ZipMap")
}

// features returns the first input; where its rank is not known the node is not known.
func (c *call) features() (x *Value, last int, ok bool) {
	x, last, ok = c.axisOfInput(-1)
	return
}

func perFeature(c *call) {
	x, last, ok := c.features()
	if !ok {
		return
	}
	c.freeze(x, last, "has a parameter for each feature")
	t := x.Type
	if c.node.OpType == "Scaler" {
		t = onnxio.Float
	}
	c.same(0, t, x).zero = nonZero
}

func binarizer(c *call) {
	if x, _, ok := c.features(); ok {
		y := c.same(0, x.Type, x)
		if c.float("threshold", 0) < 0 {
			y.zero = nonZero
		}
	}
}

func normalizer(c *call) {
	x, last, ok := c.features()
	if !ok {
		return
	}
	if x.zero != isZero || c.str("norm", "MAX") == "MAX" {
		c.freeze(x, last, "normalises over features that would not be zero when removed, or by the largest")
	}
	c.same(0, onnxio.Float, x)
}

// encoded are operators that map values to others or put them elsewhere.
func encoded(c *call) {
	x, last, ok := c.features()
	if !ok {
		return
	}
	for _, v := range c.in {
		c.freezeValue(v, "looks values up, or moves features as its attributes say")
	}
	shape, t := slices.Clone(x.Shape), x.Type
	switch c.node.OpType {
	case "OneHotEncoder":
		shape, t = append(shape, Num(int64(max(len(c.ints("cats_int64s")), len(c.strings("cats_strings")))))), onnxio.Float
	case "FeatureVectorizer":
		n := int64(0)
		for _, d := range c.ints("inputdimensions") {
			n += d
		}
		shape, t = []Dim{x.Shape[0], Num(n)}, onnxio.Float
	case "ArrayFeatureExtractor":
		at := c.input(1)
		if at == nil || !at.Ranked {
			c.unknown("the number of indices is unknown")
			return
		}
		if shape[last] = product(at.Shape); last == 0 {
			shape = append([]Dim{Num(1)}, shape...)
		}
	default:
		t = c.mapsTo(x)
	}
	c.set(0, t, shape).zero = nonZero
}

// mapsTo is the type that a LabelEncoder or a CategoryMapper maps to.
func (c *call) mapsTo(x *Value) onnxio.DataType {
	switch values := c.attr("values_tensor"); {
	case values != nil && values.T != nil:
		return values.T.DataType
	case c.attr("values_floats") != nil:
		return onnxio.Float
	case c.attr("values_int64s") != nil, c.attr("values_strings") == nil && x.Type == onnxio.String:
		return onnxio.Int64
	}
	return onnxio.String
}

func (c *call) strings(name string) [][]byte {
	if a := c.attr(name); a != nil {
		return a.Strings
	}
	return nil
}

// predicted are models of their own: classifiers give a label and numbers for each class, regressors a number for each target.
func predicted(c *call) {
	x, _, ok := c.features()
	if !ok {
		return
	}
	c.freezeValue(x, "is read by a model whose parameters are attributes")
	rows := Num(1)
	if len(x.Shape) > 1 {
		rows = x.Shape[0]
	}
	columns := Symbol("?" + c.outName(0) + ".columns")
	classes, t := 0, onnxio.Int64
	for _, name := range []string{"classlabels_ints", "classlabels_int64s"} {
		classes = max(classes, len(c.ints(name)))
	}
	if n := len(c.strings("classlabels_strings")); n > 0 {
		classes, t = n, onnxio.String
	}
	switch op := c.node.OpType; {
	case op == "SVMRegressor":
		columns = Num(1)
	case op == "LinearRegressor":
		columns = Num(c.int("targets", 1))
	case op == "TreeEnsembleRegressor" || op == "TreeEnsemble":
		if n := c.int("n_targets", 0); n > 0 {
			columns = Num(n)
		}
	default:
		if classes > 0 && op != "SVMClassifier" { // which may give a number for each pair of classes
			columns = Num(int64(classes))
		}
		c.set(0, t, []Dim{rows}).zero = nonZero
		c.set(1, onnxio.Float, []Dim{rows, columns}).zero = nonZero
		return
	}
	y := c.set(0, onnxio.Float, []Dim{rows, columns})
	if y.zero = nonZero; c.node.OpType == "TreeEnsemble" {
		y.Type = x.Type
	}
}
