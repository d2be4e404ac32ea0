package planner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// PlanVersion is the version of the plan format that this package writes; it reads this one and all before it. The version counts up when fields are added or change their meaning: a field that is newer than
// version 1 says so by the tag "since", and docs/formats.md lists what each version has.
const PlanVersion = 3

// ParsePlan reads a plan and checks its format and version. A field that this version does not have is an error: what it asks for would be left undone.
func ParsePlan(data []byte) (*Plan, error) {
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, &PlanError{fmt.Sprintf("not readable as JSON: %v", err)}
	}
	switch {
	case head.Format != "metaprune-plan":
		return nil, &PlanError{fmt.Sprintf("format is %q, want \"metaprune-plan\"", head.Format)}
	case head.Version > PlanVersion:
		return nil, &PlanError{fmt.Sprintf("made by a newer metaprune (plan version %d); this program reads versions 1 to %d: update it", head.Version, PlanVersion)}
	case head.Version < 1:
		return nil, &PlanError{fmt.Sprintf("version %d, want 1 to %d", head.Version, PlanVersion)}
	}
	var p Plan
	if err := Strict(data, &p); err != nil {
		return nil, &PlanError{fmt.Sprintf("%v; plan version %d has no such field or value", err, head.Version)}
	}
	if field, since := newest("", reflect.ValueOf(&p).Elem()); since > head.Version {
		return nil, &PlanError{fmt.Sprintf("field %q is of plan version %d, and the plan has version %d", field, since, head.Version)}
	}
	p.Warnings = nil
	return &p, p.validate()
}

// validate checks the fields whose values a replay goes by.
func (p *Plan) validate() error {
	switch {
	case len(p.ModelSHA256) != 64:
		return &PlanError{"model_sha256 is missing or no SHA-256"}
	case p.DataSHA256 != "" && len(p.DataSHA256) != 64:
		return &PlanError{"data_sha256 is no SHA-256"}
	case !slices.Contains([]string{"", "original", "metanet"}, p.Weights):
		return &PlanError{fmt.Sprintf("weights is %q, want \"original\" or \"metanet\"", p.Weights)}
	case !slices.Contains([]string{"", "none", "noise", "data"}, p.Repair):
		return &PlanError{fmt.Sprintf("repair is %q, want \"none\", \"noise\" or \"data\"", p.Repair)}
	}
	return nil
}

// Strict decodes one JSON value, without fields that v does not have and with nothing after it.
func Strict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("there is more data after the JSON object")
	}
	return nil
}

// newest returns the field of the latest version that is set in a value, and that version; 1 where no field has a tag.
func newest(path string, v reflect.Value) (field string, since int) {
	since = 1
	take := func(f string, s int) {
		if s > since {
			field, since = f, s
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return newest(path, v.Elem())
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			for i := range v.Len() {
				take(newest(path+"["+strconv.Itoa(i)+"]", v.Index(i)))
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !f.IsExported() || name == "" || name == "-" || v.Field(i).IsZero() {
				continue
			}
			if path != "" {
				name = path + "." + name
			}
			if s, err := strconv.Atoi(f.Tag.Get("since")); err == nil {
				take(name, s)
			}
			take(newest(name, v.Field(i)))
		}
	}
	return field, since
}

// PlanMemory bounds the memory in bytes that decoding a plan takes, told from its text alone.
func PlanMemory(data []byte) int64 {
	const object, field, element = 160, 96, 32 // with the room that growing slices and maps leave behind
	count := func(sign byte) int64 { return int64(bytes.Count(data, []byte{sign})) }
	return 3*int64(len(data)) + object*count('{') + field*count(':') + element*count(',')
}
