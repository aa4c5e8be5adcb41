// Command runner is what `make test` runs: it sets the machine up, checks the
// code, runs every test, and says plainly what it could not run.
//
//	set up      as root on Debian: apt-get install what is missing
//	check       gofmt, go vet, staticcheck
//	test        go test -json -race ./...   ─> tally ─> failures as they come,
//	                                                    a line for each package
//	report      LEFT OUT: ... for all that was not run, and why
//	            120 passed, 0 failed, 2 skipped
//
// A test that lacks something says t.Skip("needs socat: ..."), and its reason is
// what the list shows. A check counts like a test; whatever is left out counts as
// skipped. The exit code is 1 if anything failed, and with CI=true as root on
// Debian, where everything can be installed, also if anything was left out. A run
// without a single test has failed.
//
//	go run ./tests/runner                 everything
//	go run ./tests/runner -lint           the checks alone
//	go run ./tests/runner ./rpc ./units   the tests of these packages alone
//	go run ./tests/runner -logs ./rpc     with what tests that passed have measured
package main
