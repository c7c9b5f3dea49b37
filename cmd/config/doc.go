// Package config reads the settings of Culvert from flags, the environment and a file, in this order of
// precedence. One table, Settings, lists them; every command, its help and the documentation use it.
//
// It also keeps the secrets that a server makes for itself in its data folder: an API key and a JWT secret.
package config
