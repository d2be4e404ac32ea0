package op

// Operators without a rule, of which is known what their inputs hold.
func init() {
	family(Op{Domain: Microsoft, Since: 1, Multiply: true}, "GemmFastGelu")
	family(Op{Domain: Microsoft, Since: 1, Operands: "wssss"}, "QLinearReduceMean")
	family(Op{Domain: Microsoft, Since: 1, Operands: ".wsswssss"}, "QLinearWhere")
	family(Op{Domain: Microsoft, Since: 1, Operands: "..wwwww.ssssssssss"}, "QEmbedLayerNormalization")
}
