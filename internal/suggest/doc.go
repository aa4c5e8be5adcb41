// Package suggest finds what somebody meant who misspelt a name: a command, a
// method, a key of a file.
//
//	if meant := suggest.Nearest(name, known); meant != "" {
//		hint = fmt.Sprintf("did you mean %q? ", meant)
//	}
package suggest
