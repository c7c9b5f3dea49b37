package cmd

import (
	"crypto/tls"
	"errors"
	"net/http"

	culvert "github.com/culvertmq/culvert/clients/go"
	"github.com/culvertmq/culvert/cmd/config"
)

// hopeless reports errors that a person at a terminal has to do something about,
// though the client could go on: what is at that URL is something else.
func hopeless(err error) bool {
	var p *culvert.Problem
	var certificate *tls.CertificateVerificationError
	if !errors.As(err, &p) {
		return errors.As(err, &certificate)
	}
	return p.Foreign && p.Status < http.StatusInternalServerError &&
		p.Status != http.StatusTooManyRequests && p.Status != http.StatusRequestTimeout
}

// explained is an error of the client with what helps at a terminal.
type explained struct {
	error
	text string
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.error }

// explain makes the answers of servers fit for a terminal.
func explain(err error) error {
	var p *culvert.Problem
	if !errors.As(err, &p) {
		return err
	}
	text := printable(err.Error())
	switch {
	case p.Status == http.StatusUnauthorized && !p.Temporary():
		text += "; give a token or API key with --token, --token-file or " + config.EnvToken
	case p.Status == http.StatusNotFound:
		text += "; check --url and --namespace"
	case p.Foreign && p.Status < http.StatusMultipleChoices:
		text += "; check --url"
	}
	return &explained{err, text}
}
