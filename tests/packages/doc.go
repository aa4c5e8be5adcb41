// Package packages tries the deb and the rpm as `make packages` builds them: what
// is in them, that two builds are the same bytes, what lintian and rpmlint say,
// and their whole life on a real systemd: installed, called, upgraded and
// downgraded under load, removed, installed again, purged.
//
//	make packages ─> deb ─> apt in clean roots of Debian 12 and 13 ─> box
//	              └> rpm ─> rpm in a box of the host's root
package packages
