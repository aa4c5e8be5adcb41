// Command rawecho is what a server can not be faster than: it listens on the
// path in its argument, and writes back what it reads, without looking at it.
package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "rawecho:", serve(os.Args[1]))
	os.Exit(1)
}

// serve returns why it can not go on.
func serve(path string) error {
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return err
	}
	for {
		nc, err := l.Accept()
		if err != nil {
			return err
		}
		go echo(nc)
	}
}

func echo(nc net.Conn) {
	defer func() { _ = nc.Close() }()
	buf := make([]byte, 16<<10)
	for {
		n, err := nc.Read(buf)
		if err != nil {
			return
		}
		if _, err := nc.Write(buf[:n]); err != nil {
			return
		}
	}
}
