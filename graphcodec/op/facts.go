package op

// Layer says where a layer's operator has its weight and bias, by input, and how the weight lies.
type Layer struct {
	Weight     int    // input
	Bias       int    // input; 0: there is none
	Out, In    int    // the weight's axes of output and input channels
	Channel    int    // the axis of channels of the layer's input and output, from the end where negative
	Groups     string // attribute with the number of groups; "": there are none
	Transposed string // attribute that swaps Out and In
	Flipped    string // attribute that transposes the layer's input

	XZero, WeightZero, OutZero int // inputs with zero points of input, weight and output; 0: there are none

	Added  int    // input that is added to the output; 0: none
	Scaled bool   // the product is multiplied with attribute alpha
	Plain  string // the operator that computes the layer without what the node adds and the activation; "": the node is it
	Linear bool   // although it is unfit: each input channel adds its own share to the outputs
	Unfit  string // why the weight is not fitted by least squares; "": it is
}

// Why weights of a layer are not fitted.
const (
	unfitTransposedKernel = "positions of a transposed kernel overlap"
	unfitMovedKernel      = "its kernel reads at positions that are computed"
	unfitIntegers         = "its weight is integers"
	unfitPacked           = "its weight is packed"
	unfitLetters          = "its equation is not read as a matrix product"
	unfitGates            = "its weight is applied step by step"
	unfitExperts          = "its experts are chosen at run time"
	unfitHeads            = "its weight is applied to queries, keys and values at once"
)

// Sign says what is known of the sign of a result.
type Sign int8

const (
	anySign      Sign = iota
	neverBelow        // never negative
	keepsSign         // not negative where the first input is not
	gathersSigns      // not negative where all inputs are not
	ofProduct         // of a product with the layer's weight
	ruledSign         // of a function of its own in sign.go
)

// Means says over which axes an operator takes means: zeros in place of removed channels do not
// show what
// it gives for the kept ones.
type Means int8

const (
	NoMeans       Means = iota
	MeansOfLast         // the last axis
	MeansOfPlaces       // the axes after the channels, which are the second
	MeansOfAxes         // the axes that the node names
)

// Zero says where the result of two or more inputs is zero at removed channels.
type Zero int8

const (
	neverZero    Zero = iota
	zeroOfAny         // where any operand is
	zeroOfAll         // where all operands are
	zeroOfFirst       // where the first operand is
	zeroOfBase        // where the first operand is, and the second one is a constant above zero
	zeroOfBounds      // where all operands are zero or constants beyond zero
)

// Eval computes known contents.
type Eval struct {
	Unary    func(x float64) float64
	Dims     func(a, b Elem) (Elem, bool)   // of whole numbers, known or as expressions
	Ints     func(x, y int64) (int64, bool) // of known whole numbers
	Floats   func(x, y float64) float64     // of real numbers
	Test     func(x, y float64) bool        // of real numbers, the result being a truth value
	Symbolic bool                           // the result may be an expression of what is not known
	Negates  bool                           // expressions are negated
	Fold     *Eval                          // what a reduction repeats
}

// Static says what ONNX's shape inference does with an operator, as a reader of the file who counts
// multiply-accumulates uses it.
type Static struct {
	Contents int64 // operator set version from which it carries contents; 0: never
	Opaque   bool  // it does not look through the operator
	Typed    bool  // the result has a type whatever the input's is
	Target   bool  // the target shape is taken from propagated contents too
	Bounds   int   // the input after which bounds count, plus 1; 0: it has no bounds
	Counts   Count // how the multiply-accumulates are counted
}

// Count says which dims of a product such a reader multiplies.
type Count int8

const (
	notCounted    Count = iota
	CountsOutput        // the output's and the kernel's
	CountsInput         // the input's and the kernel's
	CountsColumns       // the output's and the first operand's last
	CountsGemm          // the output's and the second operand's rows
)

// operand is the letter of an input in Operands: w are numbers, s their scales and zero points, a
// dot
// anything else. The letters after a colon repeat.
func (o *Op) operand(i int) byte {
	letters := o.Operands
	for k := range letters {
		if letters[k] == ':' && i >= k {
			return letters[k+1+(i-k)%(len(letters)-k-1)]
		}
	}
	if i < len(letters) {
		return letters[i]
	}
	return '.'
}

// Trains says what training makes of an input, by its number: 'w' a weight, 'v' a vector, 'n' a
// vector
// of a normalisation, 's' a running statistic, '.' nothing. With any, the letter holds for whatever
// input is a constant of more than one element.
func (o *Op) Trains(input int) (letter byte, any bool) {
	switch {
	case len(o.Train) == 2 && o.Train[0] == '*':
		return o.Train[1], true
	case input < len(o.Train):
		return o.Train[input], false
	}
	return '.', false
}

// GraphKind says how a node is added to the parameter graph.
type GraphKind int8

// Kinds of nodes in the parameter graph.
const (
	PassesOn        GraphKind = iota // it passes channels on
	GraphConv                        // a layer with a kernel
	GraphTransposed                  // a layer with a transposed kernel
	GraphMatrix                      // a layer with a matrix
	GraphPacked                      // a layer with the matrices of query, key and value
	GraphTable                       // a table of vectors
	GraphRecurrent                   // a recurrent layer
	GraphSum                         // adds a vector, or values of several layers
	GraphProduct                     // multiplies by a vector, or values of several layers
	GraphConcat                      // joins the channels of several values
	GraphParts                       // gives parts of the channels
	GraphNorm                        // a normalisation with Vectors
)

// Vectors are the inputs of a normalisation from the second on.
type Vectors struct {
	Axis int // of the channels, from the end where negative
	Kind []Vector
}

// Vector is what an input of a normalisation holds for each channel.
type Vector int8

// Vectors of normalisations.
const (
	VectorScale Vector = iota
	VectorShift
	VectorMean
	VectorVariance
)
