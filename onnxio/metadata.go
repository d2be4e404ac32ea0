package onnxio

// Numbers of NodeProto.metadata_props and of the fields of StringStringEntryProto.
const (
	nodeMetadata  = 9
	entryKey      = 1
	entryContents = 2
)

// Metadata returns what the file has noted of the node under a key; "" where there is nothing, and for nodes that are not from a file.
func (n *Node) Metadata(key string) string {
	for b := n.raw; len(b) > 0; {
		num, v, size, err := next(b)
		if err != nil {
			return ""
		}
		b = b[size:]
		if num != nodeMetadata {
			continue
		}
		if k, value := entry(v.data); k == key {
			return value
		}
	}
	return ""
}

// entry reads a StringStringEntryProto.
func entry(b []byte) (key, value string) {
	for len(b) > 0 {
		num, v, size, err := next(b)
		if err != nil {
			return "", ""
		}
		switch num {
		case entryKey:
			key = string(v.data)
		case entryContents:
			value = string(v.data)
		}
		b = b[size:]
	}
	return key, value
}
