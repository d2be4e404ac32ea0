package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/options"
	"github.com/metaprune/metaprune/prune/planner"
)

type object = map[string]any

// describe makes the OpenAPI 3.1 document from the tables that requests are read by.
func (h *handler) describe() object {
	paths := object{
		"/v1/inspect": object{"post": h.modelOperation("inspect", "What a model consists of: layers, groups, cost", []string{"input"}, "application/json", object{"type": "object", "required": []string{"macs", "params", "groups"}})},
		"/v1/masks":   object{"post": h.modelOperation("masks", "What would be removed: a plan for the command line, /v1/apply and the page", options.Names(), "application/json", ref("Plan"))},
		"/v1/prune":   object{"post": h.modelOperation("prune", "The smaller model", options.Names(), "application/octet-stream", object{"type": "string", "format": "binary"})},
		"/v1/apply":   object{"post": h.applyOperation()},
		"/v1/ops": object{"get": secured(object{"operationId": "ops", "summary": "Operators that have a rule", "responses": object{
			"200": object{"description": "the list", "content": object{"application/json": object{"schema": object{"type": "array", "items": ref("Operator")}}}}, "401": ref2("Problem")}})},
		"/v1/progress": object{"get": secured(object{"operationId": "progress", "summary": "How far a request under way is, by the X-Request-Id that it was sent with",
			"parameters": []object{{"name": "id", "in": "query", "required": true, "description": "X-Request-Id of the request", "schema": object{"type": "string", "maxLength": 64}}},
			"responses":  object{"200": object{"description": "stage and steps", "content": object{"application/json": object{"schema": ref("Progress")}}}, "401": ref2("Problem"), "404": ref2("Problem")}})},
		"/healthz": object{"get": object{"operationId": "health", "summary": "Whether requests are wanted", "responses": object{
			"200": object{"description": "yes", "content": object{"application/json": object{"schema": ref("Health")}}}, "503": ref2("Problem")}}},
		"/openapi.json": object{"get": object{"operationId": "openapi", "summary": "This document", "responses": object{
			"200": object{"description": "OpenAPI 3.1", "content": object{"application/json": object{"schema": object{"type": "object"}}}}}}},
	}
	components := object{"schemas": schemas(), "responses": object{"Problem": object{"description": "problem details (RFC 9457)", "content": object{"application/problem+json": object{"schema": ref("Problem")}}}}}
	if h.config.Token != "" {
		components["securitySchemes"] = object{"token": object{"type": "http", "scheme": "bearer"}}
	} else {
		for _, item := range paths {
			for _, op := range item.(object) {
				delete(op.(object), "security")
			}
		}
	}
	return object{"openapi": "3.1.0", "info": object{"title": "metaprune", "version": orDev(h.config.Version), "description": "Makes ONNX models smaller.", "license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"}},
		"paths": paths, "components": components}
}

func orDev(version string) string {
	if version == "" {
		return "dev"
	}
	return version
}

func ref(name string) object  { return object{"$ref": "#/components/schemas/" + name} }
func ref2(name string) object { return object{"$ref": "#/components/responses/" + name} }

func secured(op object) object {
	op["security"] = []object{{"token": []string{}}}
	return op
}

// optionParameters are the options of these names as query parameters.
func optionParameters(names []string) []object {
	var out []object
	for _, o := range options.All {
		if !slices.Contains(names, o.Name) {
			continue
		}
		s := optionSchema(o)
		p := object{"name": o.Name, "in": "query", "description": o.Doc, "schema": s}
		if o.Kind == options.Strings {
			p["style"], p["explode"] = "form", true
		}
		out = append(out, p)
	}
	return out
}

func optionSchema(o options.Option) object {
	s := object{}
	switch o.Kind {
	case options.Number:
		s["type"], s["exclusiveMinimum"] = "number", 0
	case options.Integer:
		s["type"] = "integer"
		if o.Name != "seed" {
			s["minimum"], s["maximum"] = 1, 1<<20
		} else {
			s["format"] = "int64"
		}
	case options.Boolean:
		s["type"] = "boolean"
	case options.Strings:
		s["type"], s["items"] = "array", object{"type": "string"}
	default:
		s["type"] = "string"
	}
	if len(o.Enum) > 0 {
		s["enum"] = slices.Concat(o.Enum, slices.DeleteFunc(slices.Clone(o.Local), func(v string) bool { return !prune.LooksAtSamples(v) }))
	}
	if o.Default != nil {
		s["default"] = o.Default
	}
	return s
}

// formSchema is a form with files and the options as fields.
func formSchema(files, optional, names []string) object {
	properties := object{}
	for _, name := range append(append([]string{}, files...), optional...) {
		properties[name] = object{"type": "string", "format": "binary"}
	}
	for _, o := range options.All {
		if slices.Contains(names, o.Name) {
			properties[o.Name] = optionSchema(o)
		}
	}
	return object{"type": "object", "required": files, "properties": properties}
}

func (h *handler) modelOperation(id, summary string, names []string, kind string, schema object) object {
	var files []string
	if slices.Contains(names, "repair") {
		files = []string{partSamples}
	}
	op := object{"operationId": id, "summary": summary,
		"requestBody": object{"required": true, "content": object{
			"application/octet-stream": object{"schema": object{"type": "string", "format": "binary"}},
			"multipart/form-data":      object{"schema": formSchema([]string{partModel}, files, names)}}},
		"responses": h.modelResponses(kind, schema)}
	op["parameters"] = optionParameters(names)
	return secured(op)
}

func (h *handler) applyOperation() object {
	return secured(object{"operationId": "apply", "summary": "The model that a plan describes",
		"requestBody": object{"required": true, "content": object{"multipart/form-data": object{"schema": formSchema([]string{partModel, partPlan}, []string{partRepaired}, nil)}}},
		"responses":   h.modelResponses("application/octet-stream", object{"type": "string", "format": "binary"})})
}

func (h *handler) modelResponses(kind string, schema object) object {
	out := object{"200": object{"description": "the answer", "content": object{kind: object{"schema": schema}},
		"headers": object{repairHeader: object{"description": "of /v1/prune: none, or noise or data with parameters: method (solve, match or none), cosine-before and cosine (to the original's outputs, before and after the repair), held (samples that judged) and skipped (pruned layers that were not fitted)", "schema": object{"type": "string"}}, "ETag": object{"schema": object{"type": "string"}}, "Metaprune-Model-Sha256": object{"schema": object{"type": "string"}},
			"Metaprune-Warning": object{"description": "what to expect of the model and what to do, after a code: unrepaired (channels were removed and not repaired) or zeros-only; one header for each warning", "schema": object{"type": "string"}}}}}
	for _, status := range []string{"400", "401", "408", "409", "412", "413", "415", "422", "429", "500", "501"} {
		out[status] = ref2("Problem")
	}
	return out
}

// schemas are those of what is sent.
func schemas() object {
	str, integer := object{"type": "string"}, object{"type": "integer"}
	pair := object{"type": "array", "items": integer, "minItems": 2, "maxItems": 2}
	return object{
		"Problem": object{"type": "object", "required": []string{"type", "title", "status", "detail"}, "properties": object{
			"type": str, "title": str, "status": object{"type": "integer", "minimum": http.StatusBadRequest, "maximum": 599}, "detail": str, "place": str, "kind": str, "where": str, "want": str, "got": str, "limit": integer, "request_id": str}},
		"Progress": object{"type": "object", "required": []string{"stage", "done", "total"}, "properties": object{"stage": str, "done": integer, "total": integer}},
		"Health":   object{"type": "object", "required": []string{"status"}, "properties": object{"status": object{"type": "string", "enum": []string{"ok"}}, "version": str}},
		"Operator": object{"type": "object", "required": strings.Split("op since rule", " "), "properties": object{"domain": str, "op": str, "since": integer, "rule": str}},
		"Plan": object{"type": "object", "required": strings.Split("format version model_sha256 criterion weights target achieved removed groups", " "), "properties": object{
			"format": object{"type": "string", "const": "metaprune-plan"}, "version": object{"type": "integer", "minimum": 1, "maximum": planner.PlanVersion}, "model_sha256": object{"type": "string", "pattern": "^[0-9a-f]{64}$"}, "data_sha256": object{"type": "string", "pattern": "^[0-9a-f]{64}$"},
			"criterion": str, "weights": str, "counted_at": object{"type": "object", "properties": object{"inputs": object{"type": "object", "additionalProperties": object{"type": "array", "items": integer}}, "assumed": object{"type": "boolean"}}}, "achieved": object{"type": "object", "properties": object{"macs": pair, "seen_macs": pair, "seen_macs_ignored": object{"type": "boolean"}, "params": pair}},
			"removed": object{"type": []string{"array", "null"}, "items": object{"type": "object", "required": strings.Split("tensor axis indices", " "), "properties": object{
				"tensor": str, "axis": integer, "indices": object{"type": "array", "items": integer}}}},
			"groups":   object{"type": "array", "items": object{"type": "object", "properties": object{"id": str, "name": str, "size": integer, "removed": object{"type": "array", "items": integer}}}},
			"warnings": object{"type": "array", "items": object{"type": "object", "required": strings.Split("code message advice", " "), "properties": object{"code": str, "message": str, "advice": str}}}}},
	}
}
