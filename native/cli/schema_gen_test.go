package cli

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
)

// object is a JSON object.
type object map[string]any

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// schemaOf describes what encoding/json makes of a type; every field is named, and others are not allowed.
func schemaOf(t reflect.Type) object {
	switch {
	case t.Kind() == reflect.Pointer:
		return orNull(schemaOf(t.Elem()))
	case t.Implements(textMarshaler):
		return object{"type": "string"}
	case t.Implements(jsonMarshaler):
		return object{}
	}
	switch t.Kind() {
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer"}
	case reflect.Slice:
		return orNull(object{"type": "array", "items": schemaOf(t.Elem())})
	case reflect.Array:
		return object{"type": "array", "items": schemaOf(t.Elem()), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Map:
		return orNull(object{"type": "object", "additionalProperties": schemaOf(t.Elem())})
	case reflect.Struct:
		properties, required := object{}, []string{}
		fields(t, properties, &required)
		return object{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
	}
	return object{}
}

// orNull lets a value be null too.
func orNull(s object) object {
	kind, ok := s["type"].(string)
	if !ok {
		return s
	}
	s["type"] = []string{kind, "null"}
	return s
}

// fields gathers a struct's fields with those of the structs embedded in it.
func fields(t reflect.Type, properties object, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case f.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			fields(inner, properties, required)
			continue
		case name == "":
			name = f.Name
		}
		s := schemaOf(f.Type)
		if strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero") {
			if f.Type.Kind() == reflect.Pointer || f.Type.Kind() == reflect.Slice || f.Type.Kind() == reflect.Map {
				notNull(s)
			}
		} else {
			*required = append(*required, name)
		}
		properties[name] = s
	}
}

// notNull takes back what orNull did: a field that is left out where it is nil is never null.
func notNull(s object) {
	if kinds, ok := s["type"].([]string); ok {
		s["type"] = kinds[0]
	}
}
