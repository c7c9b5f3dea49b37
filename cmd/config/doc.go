// Package config reads the settings of Culvert: from flags, the environment and a file, in this
// order of precedence. One table, Settings, says which there are, and every command, its help and
// the documentation go by it.
//
// It also keeps what a server makes for itself in its data folder: an API key and a secret.
package config
