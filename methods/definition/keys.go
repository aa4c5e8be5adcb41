package definition

import "reflect"

// Tables returns the names of the tables that a file can have.
func Tables() []string {
	_, names := keyOf(reflect.TypeFor[File](), "")
	return names
}

// lookUp follows a path of keys through the types of a file. Where the last key
// is not there, known are those that are.
func lookUp(t reflect.Type, path []string) (known []string, found bool) {
	for _, key := range path {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch t.Kind() {
		case reflect.Map:
			t = t.Elem()
		case reflect.Slice:
			t = t.Elem() // key is a number
		case reflect.Struct:
			field, names := keyOf(t, key)
			if field == nil {
				return names, false
			}
			t = field
		default:
			return nil, true // of any kind, or of a wrong one, which the decoder reports
		}
	}
	return nil, true
}

// keyOf returns the type of the field that a key fills, and the names of all.
func keyOf(t reflect.Type, key string) (field reflect.Type, names []string) {
	for f := range t.Fields() {
		name, tagged := f.Tag.Lookup("toml")
		switch {
		case f.Anonymous && !tagged:
			inner, more := keyOf(f.Type, key)
			names = append(names, more...)
			if inner != nil {
				return inner, names
			}
		case !tagged || name == "-":
		case name == key:
			return f.Type, names
		default:
			names = append(names, name)
		}
	}
	return nil, names
}
