package onnxio

import "io"

// origin is the wire form that a message was decoded from: nil for messages made by the caller.
type origin struct{ raw []byte }

// Model is ModelProto.
type Model struct {
	origin
	IRVersion       int64
	OpsetImport     []*OpsetID
	ProducerName    string
	ProducerVersion string
	Domain          string
	ModelVersion    int64
	DocString       string
	Graph           *Graph
	Metadata        []*KeyValue
	Functions       []*Function
}

// OpsetID is OperatorSetIdProto.
type OpsetID struct {
	origin
	Domain  string
	Version int64
}

// KeyValue is StringStringEntryProto.
type KeyValue struct {
	origin
	Key, Value string
}

// Graph is GraphProto.
type Graph struct {
	origin
	Nodes              []*Node
	Name               string
	Initializers       []*Tensor
	SparseInitializers []*SparseTensor
	DocString          string
	Inputs             []*ValueInfo
	Outputs            []*ValueInfo
	ValueInfos         []*ValueInfo
}

// Node is NodeProto.
type Node struct {
	origin
	Inputs     []string
	Outputs    []string
	Name       string
	OpType     string
	Domain     string
	Overload   string
	Attributes []*Attribute
	DocString  string
}

// AttributeType is AttributeProto.AttributeType.
type AttributeType int32

// Kinds of attribute values.
const (
	AttrFloat   AttributeType = 1
	AttrInt     AttributeType = 2
	AttrString  AttributeType = 3
	AttrTensor  AttributeType = 4
	AttrGraph   AttributeType = 5
	AttrFloats  AttributeType = 6
	AttrInts    AttributeType = 7
	AttrStrings AttributeType = 8
	AttrTensors AttributeType = 9
	AttrGraphs  AttributeType = 10
)

// Attribute is AttributeProto.
type Attribute struct {
	origin
	Name    string
	Type    AttributeType
	RefName string
	F       float32
	I       int64
	S       []byte
	T       *Tensor
	G       *Graph
	Floats  []float32
	Ints    []int64
	Strings [][]byte
	Tensors []*Tensor
	Graphs  []*Graph
	Sparse  *SparseTensor
}

// Tensor is TensorProto. Its elements are in RawData, in one of the typed fields (as packed protobuf payload), in external data, or come
// from Lazy while the model is written; [Tensor.Bytes] reads any of them.
type Tensor struct {
	origin
	Name         string
	Dims         []int64
	DataType     DataType
	RawData      []byte
	FloatData    []byte // packed little-endian float32 pairs for complex64
	DoubleData   []byte // packed little-endian float64
	Int32Data    []byte // packed varints; also holds the 8- and 16-bit types and the bits of float16 and bfloat16
	Int64Data    []byte // packed varints
	Uint64Data   []byte // packed varints; also holds uint32
	StringData   [][]byte
	External     []*KeyValue
	DataLocation int32 // 1: external
	DocString    string

	Lazy  Lazy         // stands for RawData where set; never decoded
	store ExternalData // where external data is read from
}

// Lazy is tensor data in raw form that is produced while the model is written. WriteTo writes exactly Size bytes, each time it is called.
type Lazy interface {
	Size() int64
	io.WriterTo
}

// SparseTensor is SparseTensorProto.
type SparseTensor struct {
	origin
	Values  *Tensor
	Indices *Tensor
	Dims    []int64
}

// ValueInfo is ValueInfoProto.
type ValueInfo struct {
	origin
	Name string
	Type *Type
}

// Type is TypeProto; only tensor types are decoded, the others keep their bytes.
type Type struct {
	origin
	Tensor *TensorType
}

// TensorType is TypeProto.Tensor.
type TensorType struct {
	origin
	ElemType DataType
	Shape    *Shape // nil: unknown rank
}

// Shape is TensorShapeProto.
type Shape struct {
	origin
	Dims []*Dim
}

// Dim is TensorShapeProto.Dimension: a number, a name, or (both unset) unknown.
type Dim struct {
	origin
	Value    int64
	HasValue bool
	Param    string
}

// Function is FunctionProto, a model-local function.
type Function struct {
	origin
	Name        string
	Domain      string
	Overload    string
	Inputs      []string
	Outputs     []string
	Attributes  []string
	Defaults    []*Attribute
	Nodes       []*Node
	OpsetImport []*OpsetID
}
