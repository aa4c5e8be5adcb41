// Package config knows the settings of the program: where its socket is, and
// everything that an operator can set. It reads files, the environment and file
// metadata, and changes nothing.
//
//	Settings ─> defaults ─┐
//	marianned.toml ───────┤ each over the
//	conf.d/*.toml ────────┼ ones before ─> Config: values, and where each is from
//	$MARIANNED_… ─────────┤
//	--flags ──────────────┘
//
// All of it is read again at a reload, and compared:
//
//	cfg, err := config.Load(config.Options{Flags: flags})
//	if err != nil {
//		return err // each mistake with its file, line and column
//	}
//	inForce, changes := cfg.Reloaded(old)
package config
