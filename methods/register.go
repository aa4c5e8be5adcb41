package methods

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/marianned/marianned/rpc"
)

// Daemon is what the built-in methods report about and act on.
type Daemon struct {
	// Title names the service in the OpenRPC document. "": "marianned".
	Title string
	// Version of the service, as rpc.discover and daemon.status show it.
	Version string
	// Started is when the process began to serve.
	Started time.Time

	// Server is the one that serves the methods. Its exported fields must be set
	// before the first call.
	Server *rpc.Server

	// Visible says whether rpc.discover shows a method to a peer. nil: as
	// Server.Authorize hides it.
	Visible func(peer *rpc.Peer, method *rpc.Method) bool

	// Config returns what daemon.config answers: a value that encodes as a JSON
	// object. nil: the limits alone. It may run on several goroutines at once.
	Config func() any

	// Stop ends the service: gracefully, or at once. It must not wait for that,
	// and is called once the caller of daemon.shutdown has been answered, though
	// the answer may not have left yet: rpc.Server.Shutdown sends it, also with
	// a context that has ended. nil: there is no daemon.shutdown.
	Stop func(graceful bool)

	// Reload reads configuration and methods anew, all or nothing. It waits for
	// that. An error that can be told to the caller is a ReloadFailed. nil: there
	// is no daemon.reload.
	Reload func(ctx context.Context) (Reloaded, error)
	// Metrics answers daemon.metrics, in the text format of Prometheus. nil: there
	// is none.
	Metrics func() (string, error)

	registry *rpc.Methods
}

// Names of the built-in methods. Ping needs no slot.
const (
	Ping         = "rpc.ping"
	echoName     = "rpc.echo"
	discoverName = "rpc.discover"
	cancelName   = "rpc.cancel" // rpc.Server's own

	healthName   = "daemon.health"
	readyName    = "daemon.ready"
	statusName   = "daemon.status"
	configName   = "daemon.config"
	metricsName  = "daemon.metrics"
	peersName    = "daemon.peers"
	monitorName  = "daemon.monitor.stream"
	reloadName   = "daemon.reload"
	shutdownName = "daemon.shutdown"
)

// BuiltIn returns the names of the methods about the daemon, those that Daemon
// can leave out too.
func BuiltIn() []string {
	return []string{healthName, readyName, statusName, configName, metricsName, peersName, monitorName, reloadName, shutdownName}
}

// Register adds the built-in methods to registry, which is d.Server's. It fails
// for a name that is taken; some methods may be registered then.
func Register(registry *rpc.Methods, d Daemon) error {
	d.registry = registry
	if d.Title == "" {
		d.Title = "marianned"
	}
	list := []*rpc.Method{
		ping(), echo(), d.discover(),
		d.health(), d.ready(), d.status(), d.config(), d.peers(), d.monitor(),
	}
	if d.Stop != nil {
		list = append(list, d.shutdown())
	}
	if d.Metrics != nil {
		list = append(list, d.metrics())
	}
	if d.Reload != nil {
		list = append(list, d.reload())
	}
	for _, m := range list {
		add := registry.Register
		if strings.HasPrefix(m.Name, protocolPrefix) {
			add = registry.RegisterExtension
		}
		if err := add(m); err != nil {
			return fmt.Errorf("methods: %w", err)
		}
	}
	return nil
}
