package activation_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/marianned/marianned/activation"
)

func ExampleBind() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	socket, err := activation.Bind(activation.BindOptions{
		Path: filepath.Join(dir, "example.sock"),
		Mode: 0o600,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	info, err := os.Lstat(socket.Path)
	fmt.Println(info.Mode(), err)
	fmt.Println(socket.Close())
	_, err = os.Lstat(socket.Path)
	fmt.Println(os.IsNotExist(err))
	// Output:
	// Srw------- <nil>
	// <nil>
	// true
}
