package cmd

import (
	"fmt"

	"github.com/culvertmq/culvert/cmd/config"
)

// tour prints the key that was made for a server without one, and what can be
// done with it. Only generated keys are ever printed.
func (p *process) tour(cfg *config.Config, url string) {
	key := cfg.APIKeys[0]
	fmt.Fprintf(p.stderr, `
No API key and no token secret is configured, so culvert made both; they are kept
in %[1]s. The API key is

  %[2]s

Follow as the client alice, by Server-Sent Events:

  curl -N -H 'Authorization: Bearer %[2]s' -H 'Accept: text/event-stream' '%[3]s/v1/default/events?client=alice'

The same as bob, by long polling:

  curl -H 'Authorization: Bearer %[2]s' '%[3]s/v1/default/events?client=bob&wait=25'

Emit an event to everyone:

  curl -H 'Authorization: Bearer %[2]s' -H 'Content-Type: application/json' -d '{"event":"greeting","data":{"text":"hi"}}' '%[3]s/v1/default/emit'

`, cfg.Data, key, url)
}
