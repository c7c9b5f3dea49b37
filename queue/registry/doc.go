// Package registry keeps what operators set and every instance must know at once: namespaces
// with their settings, API keys, and the clients whose tokens were revoked.
//
// An instance has all of it in memory. A change is stored in one transaction together with a higher version and
// a notification; Run reads everything again after a notification. It also looks at the version every half
// second, in case notifications do not arrive.
package registry
