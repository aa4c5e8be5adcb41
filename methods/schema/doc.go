// Package schema checks params and results against the JSON Schemas (2020-12,
// json-schema.org) of their methods, and says where and by which rule they do
// not fit, never what they hold: a parameter can be a secret.
//
//	Compile: table of a file ─> Schema ─┬─ Decode: JSON text ─> values, or what is wrong
//	                                    └─ Text: for discovery
//
// Nothing is ever loaded from elsewhere: a reference that leaves the schema is an
// error of the schema.
package schema
