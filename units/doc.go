// Package units holds the systemd units of the daemon, inside the binary, and
// puts them where the service manager looks for them.
//
//	system/, user/, sysusers.d/   as a package installs them (go:embed)
//	        │
//	      Files     the path of the binary written into ExecStart= and its kin
//	        │
//	     Install    every target looked at first, then all files written or none
//	        │
//	    Result.Next what to run now: systemctl is the operator's to call
//
// The embedded files are complete units for a binary in /usr/bin: a package
// ships them unchanged. A person who has built the binary installs them with
// its path in them:
//
//	result, err := units.Install(units.System, units.Params{Binary: binary}, units.Options{},
//		func(file units.File, action units.Action) {
//			fmt.Printf("%-11s %s\n", action, file.Path)
//		})
//	if err != nil {
//		return err
//	}
//	for _, command := range result.Next {
//		fmt.Println("  " + command)
//	}
//
// README.md beside this file explains the units to an operator. The package
// imports nothing of this module.
package units
