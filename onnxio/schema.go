package onnxio

import pw "google.golang.org/protobuf/encoding/protowire"

// The fields of each message by their numbers in onnx.proto3. They are set in init because messages contain one another.
var (
	modelSchema    *schema[Model]
	opsetSchema    *schema[OpsetID]
	keyValueSchema *schema[KeyValue]
	graphSchema    *schema[Graph]
	nodeSchema     *schema[Node]
	attrSchema     *schema[Attribute]
	tensorSchema   *schema[Tensor]
	sparseSchema   *schema[SparseTensor]
	valueSchema    *schema[ValueInfo]
	typeSchema     *schema[Type]
	tensorTSchema  *schema[TensorType]
	shapeSchema    *schema[Shape]
	dimSchema      *schema[Dim]
	functionSchema *schema[Function]
)

func init() {
	modelSchema = newSchema(
		integer(1, "ir_version", func(m *Model) *int64 { return &m.IRVersion }),
		many(8, "opset_import", &opsetSchema, func(m *Model) *[]*OpsetID { return &m.OpsetImport }),
		text(2, "producer_name", func(m *Model) *string { return &m.ProducerName }),
		text(3, "producer_version", func(m *Model) *string { return &m.ProducerVersion }),
		text(4, "domain", func(m *Model) *string { return &m.Domain }),
		integer(5, "model_version", func(m *Model) *int64 { return &m.ModelVersion }),
		text(6, "doc_string", func(m *Model) *string { return &m.DocString }),
		one(7, "graph", &graphSchema, func(m *Model) **Graph { return &m.Graph }),
		many(14, "metadata_props", &keyValueSchema, func(m *Model) *[]*KeyValue { return &m.Metadata }),
		many(25, "functions", &functionSchema, func(m *Model) *[]*Function { return &m.Functions }),
	)
	opsetSchema = newSchema(
		text(1, "domain", func(m *OpsetID) *string { return &m.Domain }),
		integer(2, "version", func(m *OpsetID) *int64 { return &m.Version }),
	)
	keyValueSchema = newSchema(
		text(1, "key", func(m *KeyValue) *string { return &m.Key }),
		text(2, "value", func(m *KeyValue) *string { return &m.Value }),
	)
	graphSchema = newSchema(
		many(1, "node", &nodeSchema, func(m *Graph) *[]*Node { return &m.Nodes }),
		text(2, "name", func(m *Graph) *string { return &m.Name }),
		many(5, "initializer", &tensorSchema, func(m *Graph) *[]*Tensor { return &m.Initializers }),
		many(15, "sparse_initializer", &sparseSchema, func(m *Graph) *[]*SparseTensor { return &m.SparseInitializers }),
		text(10, "doc_string", func(m *Graph) *string { return &m.DocString }),
		many(11, "input", &valueSchema, func(m *Graph) *[]*ValueInfo { return &m.Inputs }),
		many(12, "output", &valueSchema, func(m *Graph) *[]*ValueInfo { return &m.Outputs }),
		many(13, "value_info", &valueSchema, func(m *Graph) *[]*ValueInfo { return &m.ValueInfos }),
	)
	nodeSchema = newSchema(
		texts(1, "input", func(m *Node) *[]string { return &m.Inputs }),
		texts(2, "output", func(m *Node) *[]string { return &m.Outputs }),
		text(3, "name", func(m *Node) *string { return &m.Name }),
		text(4, "op_type", func(m *Node) *string { return &m.OpType }),
		text(7, "domain", func(m *Node) *string { return &m.Domain }),
		text(8, "overload", func(m *Node) *string { return &m.Overload }),
		many(5, "attribute", &attrSchema, func(m *Node) *[]*Attribute { return &m.Attributes }),
		text(6, "doc_string", func(m *Node) *string { return &m.DocString }),
	)
	attrSchema = newSchema(
		text(1, "name", func(m *Attribute) *string { return &m.Name }),
		text(21, "ref_attr_name", func(m *Attribute) *string { return &m.RefName }),
		integer(20, "type", func(m *Attribute) *AttributeType { return &m.Type }),
		float32Field(2, "f", func(m *Attribute) *float32 { return &m.F }),
		integer(3, "i", func(m *Attribute) *int64 { return &m.I }),
		blob(4, "s", func(m *Attribute) *[]byte { return &m.S }),
		one(5, "t", &tensorSchema, func(m *Attribute) **Tensor { return &m.T }),
		one(6, "g", &graphSchema, func(m *Attribute) **Graph { return &m.G }),
		one(22, "sparse_tensor", &sparseSchema, func(m *Attribute) **SparseTensor { return &m.Sparse }),
		float32s(7, "floats", func(m *Attribute) *[]float32 { return &m.Floats }),
		integers(8, "ints", func(m *Attribute) *[]int64 { return &m.Ints }),
		blobs(9, "strings", func(m *Attribute) *[][]byte { return &m.Strings }),
		many(10, "tensors", &tensorSchema, func(m *Attribute) *[]*Tensor { return &m.Tensors }),
		many(11, "graphs", &graphSchema, func(m *Attribute) *[]*Graph { return &m.Graphs }),
	)
	initTensorSchemas()
	functionSchema = newSchema(
		text(1, "name", func(m *Function) *string { return &m.Name }),
		texts(4, "input", func(m *Function) *[]string { return &m.Inputs }),
		texts(5, "output", func(m *Function) *[]string { return &m.Outputs }),
		texts(6, "attribute", func(m *Function) *[]string { return &m.Attributes }),
		many(11, "attribute_proto", &attrSchema, func(m *Function) *[]*Attribute { return &m.Defaults }),
		many(7, "node", &nodeSchema, func(m *Function) *[]*Node { return &m.Nodes }),
		many(9, "opset_import", &opsetSchema, func(m *Function) *[]*OpsetID { return &m.OpsetImport }),
		text(10, "domain", func(m *Function) *string { return &m.Domain }),
		text(13, "overload", func(m *Function) *string { return &m.Overload }),
	)
}

func initTensorSchemas() {
	tensorSchema = newSchema(
		integers(1, "dims", func(m *Tensor) *[]int64 { return &m.Dims }),
		integer(2, "data_type", func(m *Tensor) *DataType { return &m.DataType }),
		packed(4, "float_data", pw.Fixed32Type, func(m *Tensor) *[]byte { return &m.FloatData }),
		packed(5, "int32_data", pw.VarintType, func(m *Tensor) *[]byte { return &m.Int32Data }),
		blobs(6, "string_data", func(m *Tensor) *[][]byte { return &m.StringData }),
		packed(7, "int64_data", pw.VarintType, func(m *Tensor) *[]byte { return &m.Int64Data }),
		text(8, "name", func(m *Tensor) *string { return &m.Name }),
		rawData(),
		packed(10, "double_data", pw.Fixed64Type, func(m *Tensor) *[]byte { return &m.DoubleData }),
		packed(11, "uint64_data", pw.VarintType, func(m *Tensor) *[]byte { return &m.Uint64Data }),
		text(12, "doc_string", func(m *Tensor) *string { return &m.DocString }),
		many(13, "external_data", &keyValueSchema, func(m *Tensor) *[]*KeyValue { return &m.External }),
		integer(14, "data_location", func(m *Tensor) *int32 { return &m.DataLocation }),
	)
	sparseSchema = newSchema(
		one(1, "values", &tensorSchema, func(m *SparseTensor) **Tensor { return &m.Values }),
		one(2, "indices", &tensorSchema, func(m *SparseTensor) **Tensor { return &m.Indices }),
		integers(3, "dims", func(m *SparseTensor) *[]int64 { return &m.Dims }),
	)
	valueSchema = newSchema(
		text(1, "name", func(m *ValueInfo) *string { return &m.Name }),
		one(2, "type", &typeSchema, func(m *ValueInfo) **Type { return &m.Type }),
	)
	typeSchema = newSchema(one(1, "tensor_type", &tensorTSchema, func(m *Type) **TensorType { return &m.Tensor }))
	tensorTSchema = newSchema(
		integer(1, "elem_type", func(m *TensorType) *DataType { return &m.ElemType }),
		one(2, "shape", &shapeSchema, func(m *TensorType) **Shape { return &m.Shape }),
	)
	shapeSchema = newSchema(many(1, "dim", &dimSchema, func(m *Shape) *[]*Dim { return &m.Dims }))
	dimSchema = newSchema(dimValue(), text(2, "dim_param", func(m *Dim) *string { return &m.Param }))
}

// rawData is a bytes field that Lazy may stand for.
func rawData() field[Tensor] {
	f := blob(9, "raw_data", func(m *Tensor) *[]byte { return &m.RawData })
	f.same = func(a, b *Tensor) bool { return a.Lazy == nil && b.Lazy == nil && sameBytes(a.RawData, b.RawData) }
	plain := f.put
	f.put = func(out *rope, m *Tensor) {
		if m.Lazy != nil {
			out.lazyField(9, m.Lazy)
			return
		}
		plain(out, m)
	}
	return f
}

// dimValue is a member of a oneof: zero is written too.
func dimValue() field[Dim] {
	return field[Dim]{num: 1, name: "dim_value",
		load: func(_ *decoder, m *Dim, v payload) error {
			m.Value, m.HasValue = int64(v.num), true
			return v.want(pw.VarintType)
		},
		same: func(a, b *Dim) bool { return a.Value == b.Value && a.HasValue == b.HasValue },
		put: func(out *rope, m *Dim) {
			if m.HasValue {
				out.varintField(1, uint64(m.Value))
			}
		}}
}

func (m *Model) encodeTo(out *rope)        { encodeMessage(modelSchema, m, m.raw, out) }
func (m *OpsetID) encodeTo(out *rope)      { encodeMessage(opsetSchema, m, m.raw, out) }
func (m *KeyValue) encodeTo(out *rope)     { encodeMessage(keyValueSchema, m, m.raw, out) }
func (m *Graph) encodeTo(out *rope)        { encodeMessage(graphSchema, m, m.raw, out) }
func (m *Node) encodeTo(out *rope)         { encodeMessage(nodeSchema, m, m.raw, out) }
func (m *Attribute) encodeTo(out *rope)    { encodeMessage(attrSchema, m, m.raw, out) }
func (m *Tensor) encodeTo(out *rope)       { encodeMessage(tensorSchema, m, m.raw, out) }
func (m *SparseTensor) encodeTo(out *rope) { encodeMessage(sparseSchema, m, m.raw, out) }
func (m *ValueInfo) encodeTo(out *rope)    { encodeMessage(valueSchema, m, m.raw, out) }
func (m *Type) encodeTo(out *rope)         { encodeMessage(typeSchema, m, m.raw, out) }
func (m *TensorType) encodeTo(out *rope)   { encodeMessage(tensorTSchema, m, m.raw, out) }
func (m *Shape) encodeTo(out *rope)        { encodeMessage(shapeSchema, m, m.raw, out) }
func (m *Dim) encodeTo(out *rope)          { encodeMessage(dimSchema, m, m.raw, out) }
func (m *Function) encodeTo(out *rope)     { encodeMessage(functionSchema, m, m.raw, out) }
