// Package config knows the settings of the program: where its socket is, and
// which bounds an operator can set. It reads the environment and file metadata,
// and changes nothing.
//
//	--socket ─> $MARIANNED_SOCKET ─┬─ serve:   the system's as root, else the user's own
//	                               └─ clients: the user's own if it exists, else the system's
package config
