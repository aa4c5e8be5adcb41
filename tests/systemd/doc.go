// Package systemd tries marianned on a real systemd, which package box boots: its
// units are installed as an operator installs them, and driven with systemctl,
// journalctl and clients.
package systemd
