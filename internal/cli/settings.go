package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/marianned/marianned/internal/config"
)

// addSettingFlags gives a command a flag for each setting.
func addSettingFlags(cmd *cobra.Command) {
	for _, s := range config.Settings {
		value := &settingFlag{text: s.Default(), kind: s.Type()}
		if s.Name == "socket" {
			value.text = "" // it depends on who serves
		}
		cmd.Flags().Var(value, s.Flag(), s.Usage)
		if s.Type() == "boolean" {
			cmd.Flags().Lookup(s.Flag()).NoOptDefVal = "true"
		}
	}
	completeFile(cmd, "socket")
	completeWords(cmd, "log-level", config.LogLevels...)
}

// settingFlag keeps what was given: package config reads it, so that there is
// one way to write a value, and all mistakes are reported together.
type settingFlag struct{ text, kind string }

func (f *settingFlag) Set(text string) error { f.text = text; return nil }
func (f *settingFlag) String() string        { return f.text }
func (f *settingFlag) Type() string          { return f.kind }

// givenFlags returns the flags of settings that were given, by their names.
func givenFlags(cmd *cobra.Command) map[string]string {
	given := make(map[string]string)
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if value, is := flag.Value.(*settingFlag); is {
			given[flag.Name] = value.text
		}
	})
	return given
}
